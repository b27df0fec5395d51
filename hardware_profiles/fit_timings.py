"""From a user's step timings to a GPU profile: engine overheads, or those and the formula's efficiencies.

``overheads`` keeps the kernels (a table where there is one) and fits what the engine adds to them.
``efficiencies`` fits the compact formula as well, with kernel_factor 1 and without its constants per layer:
one model's step times cannot tell those from the engine's own.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.costs import step_cost
from hardware_profiles.fit import Error, bare, with_coefficients
from hardware_profiles.gpu import EngineOverheads, FitError, Gpu, MeasuredRange
from hardware_profiles.least_squares import Parameter, Solution, folds, solve, solve_what_can_be
from hardware_profiles.model import Model
from hardware_profiles.timings import TimedStep
from simulator.arrays import Floats
from simulator.errors import InputError

What = Literal["overheads", "efficiencies"]

KERNEL_FACTOR = Parameter("kernel_factor", 0.5, 3.0, 0.5, "long steps, with thousands of tokens or contexts")
STEP = Parameter("step_ms", 0.0, 200.0, 1.0, "short steps, with one to eight decodes")
PER_SEQUENCE = Parameter("per_sequence_ms", 0.0, 5.0, 0.02, "decode batches of very different size")
PREFILL_STEP = Parameter("prefill_step_ms", 0.0, 200.0, 1.0, "steps both with and without prompts")
OVERHEADS = (KERNEL_FACTOR, STEP, PER_SEQUENCE, PREFILL_STEP)
EFFICIENCIES = (
    Parameter("linear_compute_efficiency", 0.02, 1.2, 0.5, "prefills of 2,000 tokens or more"),
    Parameter("linear_bandwidth_efficiency", 0.02, 1.2, 0.5, "decodes of small batches"),
    Parameter("prefill_attention_efficiency", 0.02, 1.2, 0.5, "prefills after long prior contexts"),
    Parameter("kv_read_efficiency", 0.02, 1.2, 0.5, "decodes at very different contexts"),
    STEP,
    PER_SEQUENCE,
    PREFILL_STEP,
)
# What one model's steps cannot tell from step_ms, per_sequence_ms and prefill_step_ms.
_CONSTANTS = (
    "layer_overhead_us", "sequence_overhead_us_per_layer", "prefill_overhead_us_per_layer",
    "fresh_prompt_overhead_us_per_layer",
)  # fmt: skip


@dataclass(frozen=True)
class TimingsFit:
    """The new profile, the fitted values, and errors in % by kind of step: where fitted, and left out."""

    gpu: Gpu
    solution: Solution
    fitted: dict[str, Error]
    left_out: dict[str, Error]
    folds: int
    by_run: bool


class _Predictor:
    """Step times in ms of the same shapes for other values of the parameters."""

    def __init__(self, gpu: Gpu, model: Model, size: int, what: What, steps: Sequence[TimedStep]) -> None:
        self._gpu, self._model, self._size, self._steps, self._what = gpu, model, size, steps, what
        self._start = gpu.overheads()
        self._kernels: dict[tuple[float, ...], Floats] = {}
        shapes = [step.shape for step in steps]
        self._seqs = np.array([shape.prefill_seqs + shape.decode_seqs for shape in shapes])
        self._prompts = np.array([float(shape.prefill_seqs > 0) for shape in shapes])

    def __call__(self, values: dict[str, float]) -> Floats:
        """Return predicted milliseconds; overheads that are not in ``values`` stay as they were."""
        filled = self.overheads(values)
        return np.asarray(
            filled["kernel_factor"] * self._kernel_ms(values)
            + filled["step_ms"]
            + filled["per_sequence_ms"] * self._seqs
            + filled["prefill_step_ms"] * self._prompts
        )

    def overheads(self, values: dict[str, float]) -> dict[str, float]:
        """Return the four overheads: fitted, or kept."""
        kept = {each.name: float(getattr(self._start, each.name)) for each in OVERHEADS}
        if self._what == "efficiencies":
            kept |= {"kernel_factor": 1.0, "prefill_step_ms": 0.0}
        return {name: values.get(name, value) for name, value in kept.items()}

    def _kernel_ms(self, values: dict[str, float]) -> Floats:
        coefficients = kernel_coefficients(values) if self._what == "efficiencies" else {}
        key = tuple(coefficients.values())
        if key not in self._kernels:
            engine = bare(self._start)
            if self._what == "efficiencies":
                gpu = with_coefficients(self._gpu, coefficients)
                cost = AnalyticCost(gpu, self._model, self._size, engine)
            else:
                cost = step_cost(self._gpu, self._model, "auto", self._size, engine)  # type: ignore[assignment]
            self._kernels = {key: np.array([1e3 * cost.step_s(step.shape) for step in self._steps])}
        return self._kernels[key]


def kernel_coefficients(values: dict[str, float]) -> dict[str, float]:
    """Return those of the values that belong into ``[kernel_fit]``, and zeros for its constants."""
    efficiencies = {each.name: values[each.name] for each in EFFICIENCIES if each.name in values}
    kernels = {name: value for name, value in efficiencies.items() if name.endswith("_efficiency")}
    return {**kernels, **dict.fromkeys(_CONSTANTS, 0.0)}


def fit_timings(
    gpu: Gpu,
    model: Model,
    steps: Sequence[TimedStep],
    *,
    tensor_parallel: int = 1,
    what: What = "overheads",
    free: Iterable[str] = (),
    fold_count: int = 5,
    source: str = "step timings",
    asynchronous: bool = True,
    name: str | None = None,
) -> TimingsFit:
    """Return a new profile, from ``gpu``, that prices ``steps`` best; ``free`` names what to fit (default: all).

    Raises InputError where the steps do not determine the parameters, and as the cost models do.
    """
    all_, free, absent = OVERHEADS if what == "overheads" else EFFICIENCIES, list(free), _absent(steps)
    parameters = chosen(all_, free, absent)
    distinct = len({_key(step) for step in steps})
    if distinct <= (len(parameters) if free else 1):
        raise InputError(
            f"under-determined: {distinct} different steps for {len(parameters)} parameters;"
            f" add more than {len(parameters) - distinct} steps of other sizes, or name with --free fewer of them"
        )
    solution = _solve(
        gpu, model, tensor_parallel, what, steps, parameters, most=None if free else distinct - 1
    )
    parameters = tuple(each for each in parameters if each.name in solution.values)
    if not free:
        silent = tuple(each for each in all_ if each.name in absent)
        solution = solution._replace(kept=(*solution.kept, *silent))
    predictor = _Predictor(gpu, model, tensor_parallel, what, steps)
    measured = np.array([step.step_ms for step in steps])
    fitted = _errors(predictor(solution.values) / measured - 1, steps)
    by_run = len({step.run for step in steps}) > 1
    left = np.empty(len(steps))
    parts = folds([step.run if by_run else i for i, step in enumerate(steps)], fold_count)
    for part in parts:
        others = [step for i, step in enumerate(steps) if i not in set(part)]
        again = _solve(gpu, model, tensor_parallel, what, others, parameters, start=solution.values)
        own = _Predictor(gpu, model, tensor_parallel, what, [steps[i] for i in part])
        left[part] = own(again.values) / measured[part] - 1
    left_out = _errors(left, steps)
    new = _profile(gpu, predictor, solution, steps, left_out, what, source, asynchronous, name, model)
    return TimingsFit(new, solution, fitted, left_out, len(parts), by_run)


def chosen(
    all_: Sequence[Parameter], free: Iterable[str], absent: Iterable[str] = ()
) -> tuple[Parameter, ...]:
    """Return the parameters called ``free``, by default all but those ``absent`` from the data."""
    known, wanted = {each.name: each for each in all_}, list(dict.fromkeys(free))
    for name in wanted:
        if name not in known:
            raise InputError(f"--free {name}: expected one of {', '.join(known)}")
    return tuple(known[name] for name in wanted or known if wanted or name not in set(absent))


def _absent(steps: Sequence[TimedStep]) -> set[str]:
    """Return the parameters that no step says anything about: they keep their values."""
    prompts = {step.shape.prefill_seqs > 0 for step in steps}
    decodes = any(step.shape.decode_seqs for step in steps)
    absent = set() if len(prompts) == 2 else {"prefill_step_ms"}
    if True not in prompts:
        absent |= {"prefill_attention_efficiency", "linear_compute_efficiency"}
    return absent if decodes else absent | {"kv_read_efficiency", "per_sequence_ms"}


def _key(step: TimedStep) -> tuple[float, ...]:
    shape = step.shape
    return (
        shape.prefill_tokens, shape.prefill_context_tokens, shape.prefill_seqs,
        shape.decode_seqs, shape.decode_context_tokens,
    )  # fmt: skip


def _solve(
    gpu: Gpu,
    model: Model,
    size: int,
    what: What,
    steps: Sequence[TimedStep],
    parameters: Sequence[Parameter],
    *,
    most: int | None = None,
    start: dict[str, float] | None = None,
) -> Solution:
    """Fit all of the parameters; with ``most``, so many of them that are determined; with ``start``, unchecked."""
    predictor = _Predictor(gpu, model, size, what, steps)
    measured = np.array([step.step_ms for step in steps])
    own = {**predictor.overheads({}), **gpu.kernel_fit.model_dump()}
    first = start or {each.name: float(own[each.name]) for each in parameters}

    def off(values: dict[str, float]) -> Floats:
        return np.asarray(predictor(values) / measured - 1)

    if most is not None:
        return solve_what_can_be(off, parameters, first, most=most)
    return solve(off, parameters, first, check=start is None)


def _errors(off: Floats, steps: Sequence[TimedStep]) -> dict[str, Error]:
    """Return the mean and the worst absolute error in % by kind, and of all as "all"."""
    size = 100 * np.abs(off)
    found = {}
    for kind in [*sorted({step.kind for step in steps}), "all"]:
        own = size[[kind in (step.kind, "all") for step in steps]]
        found[kind] = Error(float(own.mean()), float(own.max()), len(own))
    return found


def _profile(
    gpu: Gpu,
    predictor: _Predictor,
    solution: Solution,
    steps: Sequence[TimedStep],
    left_out: dict[str, Error],
    what: What,
    source: str,
    asynchronous: bool,
    name: str | None,
    model: Model,
) -> Gpu:
    today = datetime.date.today()
    error = left_out["all"]
    said = f"fitted to {len(steps)} steps of {model.name} ({source}); steps left out are {error.mean_pct:.1f} % off"
    block = EngineOverheads(
        source=f"servesim profile fit: {said}", licence="yours", date=today,
        engine_version=f"as timed in {source}", asynchronous=asynchronous,
        frontend_s=gpu.overheads(asynchronous=asynchronous).frontend_s, fitted_on=None, operator_tables=None,
        short_prompts_dense=False,
        remark=f"On average; worst {error.worst_pct:.1f} %. frontend_s was not fitted: that of {gpu.name}.",
        **{key: round(value, 6) for key, value in predictor.overheads(solution.values).items()},
    )  # fmt: skip
    blocks = {"fitted": block}
    changes: dict[str, object] = {
        "name": name or f"{gpu.name}-fitted",
        "validated": f"{what} {said}. The rest is that of {gpu.name}: {gpu.validated.strip()}",
    }
    if what == "overheads":
        blocks |= {key: each for key, each in gpu.engine_overheads.items() if key != "fitted"}
    else:
        changes |= {"operator_tables": None, "kernel_fit": gpu.kernel_fit.model_copy(update={
            **{key: round(value, 6) for key, value in kernel_coefficients(solution.values).items()},
            "engine_version": block.engine_version, "fitted_on": model.name, "source": block.source,
            "licence": "yours", "date": today, "error": _fit_error(left_out, source),
            "measured_range": _range(steps),
        })}  # fmt: skip
    return gpu.model_copy(update={**changes, "engine_overheads": blocks})


def _fit_error(errors: dict[str, Error], source: str) -> FitError | None:
    """Return the errors as a profile states them, or None unless every kind of step was timed."""
    kinds = ("prefill", "prefill_after_prior_context", "decode", "mixed")
    if any(kind not in errors for kind in kinds):
        return None
    means = {f"{kind}_pct": round(errors[kind].mean_pct, 2) for kind in kinds}
    return FitError(
        grid=source, remark="Whole steps with the engine's overheads, each left out of the fit that priced it.",
        worst_pct=round(errors["all"].worst_pct, 2), **means,
    )  # fmt: skip


def _range(steps: Sequence[TimedStep]) -> MeasuredRange:
    shapes = [step.shape for step in steps]
    contexts = [s.decode_context_tokens / s.decode_seqs for s in shapes if s.decode_seqs] or [1.0]
    priors = [
        (s.prefill_context_tokens - s.prefill_tokens) / s.prefill_seqs for s in shapes if s.prefill_seqs
    ]
    return MeasuredRange(
        max_prefill_tokens=max(1, *(shape.prefill_tokens for shape in shapes)),
        max_prefill_prior_tokens=int(max(priors, default=0)),
        max_decode_seqs=max(1, *(shape.decode_seqs for shape in shapes)),
        min_decode_context_tokens=int(min(contexts)),
        max_decode_context_tokens=max(1, int(max(contexts))),
    )
