"""Fitting the compact model to step times, and scoring a cost model against them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.gpu import EngineOverheads, Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost
from hardware_profiles.tabulated import TabulatedCost
from simulator.arrays import Floats
from simulator.replica.cost import StepShape

# Of each free coefficient: least value, largest value, typical size of a change.
BOUNDS = {
    "layer_overhead_us": (0.0, 300.0, 50.0),
    "linear_compute_efficiency": (0.3, 1.2, 1.0),
    "linear_bandwidth_efficiency": (0.3, 1.2, 1.0),
    "soft_max_exponent": (1.0, 12.0, 3.0),
    "prefill_attention_efficiency": (0.2, 1.2, 1.0),
    "kv_read_efficiency": (0.3, 1.2, 1.0),
    "sequence_overhead_us_per_layer": (0.0, 5.0, 0.2),
    "prefill_overhead_us_per_layer": (0.0, 300.0, 30.0),
    "fresh_prompt_overhead_us_per_layer": (0.0, 300.0, 30.0),
    "prefill_context_ns_per_layer": (0.0, 100.0, 10.0),
    "elementwise_passes": (0.0, 60.0, 10.0),
}
# How much the mean squared error of a kind counts.
WEIGHTS = {"prefill": 2.5, "prefill_after_prior_context": 2.0, "decode": 3.0, "mixed": 1.0}


@dataclass(frozen=True)
class MeasuredStep:
    """One step whose kernels were timed, and what kind it is (a key of ``WEIGHTS``)."""

    model: Model
    tensor_parallel: int
    kind: str
    shape: StepShape
    kernel_s: float


@dataclass(frozen=True)
class Error:
    """Absolute relative errors of some steps in %."""

    mean_pct: float
    worst_pct: float
    steps: int


def bare(overheads: EngineOverheads) -> EngineOverheads:
    """Return overheads that add nothing to the kernels."""
    none = ("step_ms", "per_sequence_ms", "prefill_step_ms", "frontend_s")
    return overheads.model_copy(update={"kernel_factor": 1.0, **dict.fromkeys(none, 0.0)})


def step_shape(
    prefills: Iterable[tuple[int, int]] = (), decodes: int = 0, context_tokens: int = 0
) -> StepShape:
    """Return the shape of a step with prefills (n, prior), and decodes with so many context tokens each."""
    prefills = list(prefills)
    return StepShape(
        prefill_tokens=sum(n for n, _ in prefills),
        prefill_seqs=len(prefills),
        prefill_attention_pairs=sum(n * prior + n * n / 2 for n, prior in prefills),
        prefill_context_tokens=sum(n + prior for n, prior in prefills),
        decode_seqs=decodes,
        decode_context_tokens=decodes * context_tokens,
    )


def steps_of_table(cost: TabulatedCost) -> list[MeasuredStep]:
    """Return whole steps at the points where attention was measured; linear layers between theirs.

    Where no prefill was measured together with decodes, none of the steps has both.
    """
    engine = cost.overheads
    twin = TabulatedCost(cost.gpu, cost.model, cost.table, cost.tensor_parallel, bare(engine))
    found = []
    for new, prior, seqs, context, attention_ms in cost.table.attention.tolist():
        shape = step_shape([(int(new), int(prior))] if new else [], int(seqs), int(context))
        others_s = twin.other_kernels_s(int(new + seqs), int(seqs + (new > 0)))
        kind = "prefill_after_prior_context" if prior else "prefill"
        if seqs:
            kind = "mixed" if new else "decode"
        found.append(
            MeasuredStep(cost.model, cost.tensor_parallel, kind, shape, others_s + attention_ms * 1e-3)
        )
    return found


def fit_kernels(
    gpu: Gpu, steps: Sequence[MeasuredStep], weights: Mapping[str, float] = WEIGHTS
) -> dict[str, float]:
    """Return the coefficients of ``[kernel_fit]`` that price ``steps`` best, starting from the GPU's own.

    Least squares of log(predicted / measured) with a soft L1 loss beyond 2 %; every kind counts by its
    weight, however many steps it has.
    """
    from scipy.optimize import least_squares

    kinds = [step.kind for step in steps]
    share = np.array([weights[kind] / np.sqrt(kinds.count(kind)) for kind in kinds])
    share *= np.sqrt(len(steps) / len(set(kinds)))
    measured = np.array([step.kernel_s for step in steps])
    names = list(BOUNDS)
    low, high, scale = (np.array([BOUNDS[name][i] for name in names]) for i in range(3))

    def residuals(values: Floats) -> Floats:
        tried = with_coefficients(gpu, dict(zip(names, values.tolist(), strict=True)))
        return np.asarray(np.log(predict_s(tried, steps) / measured) * share)

    start = np.array([getattr(gpu.kernel_fit, name) for name in names])
    start = np.clip(start, low + 1e-3 * scale, high - 1e-3 * scale)
    best = least_squares(
        residuals, start, bounds=(low, high), loss="soft_l1", f_scale=0.02, x_scale=scale, max_nfev=60
    )
    return dict(zip(names, (float(value) for value in best.x), strict=True))


def with_coefficients(gpu: Gpu, coefficients: Mapping[str, float]) -> Gpu:
    """Return the GPU with other coefficients of ``[kernel_fit]``."""
    return gpu.model_copy(update={"kernel_fit": gpu.kernel_fit.model_copy(update=dict(coefficients))})


def predict_s(gpu: Gpu, steps: Iterable[MeasuredStep]) -> Floats:
    """Return the analytic model's kernel seconds of each step."""
    overheads = bare(gpu.overheads())
    costs: dict[tuple[str, int], HardwareCost] = {}
    predicted = []
    for step in steps:
        key = step.model.name, step.tensor_parallel
        if key not in costs:
            costs[key] = AnalyticCost(gpu, step.model, step.tensor_parallel, overheads)
        predicted.append(costs[key].step_s(step.shape))
    return np.array(predicted)


def errors_by_kind(predicted_s: Floats, steps: Sequence[MeasuredStep]) -> dict[str, Error]:
    """Return the error of predictions by kind of step, and of all steps as "all"."""
    off = np.abs(predicted_s / np.array([step.kernel_s for step in steps]) - 1) * 100
    found = {}
    for kind in [*sorted({step.kind for step in steps}), "all"]:
        chosen = off[[kind in (step.kind, "all") for step in steps]]
        found[kind] = Error(float(chosen.mean()), float(chosen.max()), len(chosen))
    return found
