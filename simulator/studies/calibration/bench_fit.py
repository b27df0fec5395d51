"""From results of load tests alone to engine overheads: the simulation has to meet their means.

The runs are simulated again and again with other overheads until mean TTFT and mean TPOT fit best, of groups of
requests where a file has each. Overheads that the runs do not determine stay as they were. What is printed as left
out is each run's error with overheads fitted to the other runs; of one run, to every other group of its requests.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardware_profiles import AnalyticCost, Gpu, HardwareCost, TabulatedCost
from hardware_profiles.fit_timings import chosen
from hardware_profiles.gpu import EngineOverheads
from hardware_profiles.least_squares import Parameter, Solution, solve, solve_what_can_be
from simulator.arrays import Floats, Ints
from simulator.errors import InputError, StallError
from simulator.replica.limits import Limits
from simulator.report.text import counted
from simulator.scenario.resolve import make_policy, resolve_pool
from simulator.scenario.scenario import Scenario
from simulator.studies.calibration.bench_results import BenchResult
from simulator.studies.calibration.served import Server, serve

PARAMETERS = (
    Parameter("kernel_factor", 0.5, 3.0, 1.0, "runs at a load where steps are long"),
    Parameter("step_ms", 0.0, 50.0, 2.0, "runs at a load where steps are short (one request at a time)"),
    Parameter("per_sequence_ms", 0.0, 1.0, 0.05, "runs with many more requests at once"),
    Parameter("frontend_s", 0.0, 2.0, 0.02, "runs with prompts of another length"),
)
# Which requests share a step changes by jumps, so derivatives need differences well above one such jump.
DIFFERENCE = 0.1
# TTFT hangs on how the clients began and on what a few prompts queued behind; time per token does not. So TTFT
# decides little but frontend_s, which time per token says nothing about.
WEIGHTS = (0.05, 1.0)  # of TTFT and TPOT errors in the fit
_MOST_TRIES = (
    150  # what is shown as the end of a fit, which has none: two of one run took 59 and 92 simulations
)


@dataclass(frozen=True)
class RunError:
    """Signed errors of one run in %, where fitted and with overheads fitted to the others (None: too few)."""

    source: str
    fitted: tuple[float, float]  # TTFT, TPOT
    left_out: tuple[float, float] | None


@dataclass(frozen=True)
class BenchFit:
    """The new profile, the fitted values, and every run's errors."""

    gpu: Gpu
    solution: Solution
    errors: list[RunError]

    @property
    def fitted_pct(self) -> tuple[float, float]:
        """Mean absolute errors of TTFT and TPOT where fitted."""
        return _pair(np.abs([each.fitted for each in self.errors]).mean(axis=0))

    @property
    def left_out_pct(self) -> tuple[float, float] | None:
        """Likewise, each run left out of the fit that predicts it; None: too few runs."""
        values = [each.left_out for each in self.errors if each.left_out is not None]
        return _pair(np.abs(values).mean(axis=0)) if values else None


class _Simulated:
    """Mean TTFT and TPOT of the runs, in ms, for any overheads."""

    def __init__(
        self,
        runs: Sequence[BenchResult],
        scenario: Scenario,
        start: EngineOverheads,
        count: Callable[[], None],
    ) -> None:
        """``count`` is called before each simulation of all runs."""
        parts = resolve_pool(scenario)
        if type(parts.cost) not in (AnalyticCost, TabulatedCost):
            raise InputError(
                "--set: overheads are fitted to one engine on one node without a power cap; expected"
                " pipeline_parallel_size = 1, no ranks that share experts, and hardware.power_cap_w unset"
            )
        self._parts, self._start, self._runs, self._count = parts, start, runs, count
        self._scenario = scenario
        self._seen: dict[tuple[tuple[str, float], ...], Floats] = {}
        self.measured = np.concatenate([each for run in runs for each in (run.ttft_ms, run.tpot_ms)])
        groups = [len(run.ttft_ms) for run in runs]
        self.weights = np.concatenate([np.repeat(WEIGHTS, n) / np.sqrt(n) for n in groups])
        for run in runs:
            _check_lengths(run, parts.limits)

    def off(self, values: dict[str, float]) -> Floats:
        """Return f64[means]: simulated over measured less 1."""
        return np.asarray(self(values) / self.measured - 1)

    def __call__(self, values: dict[str, float]) -> Floats:
        """Return f64[means] in ms of each run, one after the other: TTFT of its groups, then TPOT."""
        key = tuple(values.items())
        if key not in self._seen:
            self._count()
            self._seen[key] = self._simulate(self._start.model_copy(update=values))
        return self._seen[key]

    def _simulate(self, overheads: EngineOverheads) -> Floats:
        old = self._parts.cost
        cost: HardwareCost
        if isinstance(old, TabulatedCost):
            cost = TabulatedCost(old.gpu, old.model, old.table, old.tensor_parallel, overheads)
        else:
            cost = AnalyticCost(old.gpu, old.model, old.tensor_parallel, overheads)
        choice = self._scenario.policy.scheduling
        server = Server(
            cost,
            self._parts.limits,
            lambda: make_policy("scheduling", choice),
            overheads.frontend_s,
            self._parts.rules,
        )
        means = []
        for run in self._runs:
            try:
                served = serve(run.workload, server)
            except StallError as error:
                raise InputError(f"{run.source}: cannot be simulated: {error}") from error
            several = served.output_tokens > 1
            tpot_s = np.full(len(several), np.nan)
            tpot_s[several] = served.tpot_s
            means.append(run.means_ms(served.ttft_s, tpot_s))
        return np.concatenate(means)


def fit_bench(
    runs: Sequence[BenchResult],
    scenario: Scenario,
    gpu: Gpu,
    *,
    free: Iterable[str] = (),
    name: str = "",
    on_done: Callable[[int, int], None] = lambda *_: None,
) -> BenchFit:
    """Return a new profile, from ``gpu``, with which the simulated means meet the measured ones best.

    ``scenario`` says what served (hardware, engine, policy); ``free`` names the parameters (default: all that are
    determined). ``on_done`` gets how many times the runs were simulated, and about how many times they will be.
    Raises InputError where the runs do not determine what is asked.
    """
    free = list(free)
    parameters = chosen(PARAMETERS, free)
    points = sum({run.operating_point: len(run.ttft_ms) for run in runs}.values())
    if points < len(parameters) and free:
        raise InputError(
            f"under-determined: {points} operating point{'s' * (points > 1)} for {len(parameters)} parameters; add"
            f" {len(parameters) - points} or more runs at other rates, concurrencies or lengths, or name with"
            " --free fewer of them"
        )
    start = resolve_pool(scenario).cost.overheads
    first = {each.name: float(getattr(start, each.name)) for each in parameters}
    begun, most = iter(range(_MOST_TRIES)), _MOST_TRIES

    def count() -> None:
        on_done(next(begun, most - 1), most)

    simulated = _Simulated(runs, scenario, start, count)
    solution = _solve(simulated, parameters, first, None if free else points)
    left_out = None
    if points > len(solution.values):
        left_out = _left_out(runs, scenario, start, solution.values, count)
    predicted = simulated(solution.values)
    errors = [
        RunError(run.source, _off_of_run(run, mine), None if left_out is None else left_out[i])
        for i, (run, mine) in enumerate(zip(runs, _split(runs, predicted), strict=True))
    ]
    fit = BenchFit(gpu, solution, errors)
    return replace(fit, gpu=_profile(gpu, start, fit, runs, name))


def _solve(
    simulated: _Simulated, parameters: Sequence[Parameter], first: dict[str, float], most: int | None
) -> Solution:
    """Fit all of the parameters or, with ``most``, those that the runs determine."""

    def off(values: dict[str, float]) -> Floats:
        return simulated.weights * simulated.off(values)

    if most is not None:
        return solve_what_can_be(off, parameters, first, most=most, difference=DIFFERENCE, most_steps=25)
    return solve(off, parameters, first, difference=DIFFERENCE, most_steps=25)


def _again(simulated: _Simulated, first: dict[str, float], rows: Ints) -> dict[str, float]:
    """Return the values fitted to some of the means, from values that all of them gave."""
    parameters = [each for each in PARAMETERS if each.name in first]
    weights = simulated.weights[rows]
    return solve(
        lambda values: weights * simulated.off(values)[rows], parameters, first,
        difference=DIFFERENCE, most_steps=6, check=False,
    ).values  # fmt: skip


def _left_out(
    runs: Sequence[BenchResult],
    scenario: Scenario,
    start: EngineOverheads,
    fitted: dict[str, float],
    count: Callable[[], None],
) -> list[tuple[float, float]]:
    """Return each run's errors with overheads fitted to the others; of one alone, every other group to the rest."""
    found = []
    for i, run in enumerate(runs):
        alone = _Simulated([run], scenario, start, count)
        others = [other for j, other in enumerate(runs) if j != i]
        if others:
            rest = _Simulated(others, scenario, start, count)
            found.append(_off_of_run(run, alone(_again(rest, fitted, np.arange(len(rest.weights))))))
            continue
        group = np.tile(np.arange(len(run.ttft_ms)), 2)
        means_ms = np.empty(len(group))
        for half in (0, 1):
            values = _again(alone, fitted, np.flatnonzero(group % 2 != half))
            means_ms[group % 2 == half] = alone(values)[group % 2 == half]
        found.append(_off_of_run(run, means_ms))
    return found


def _split(runs: Sequence[BenchResult], means_ms: Floats) -> list[Floats]:
    return np.split(means_ms, np.cumsum([2 * len(run.ttft_ms) for run in runs])[:-1])


def _off_of_run(run: BenchResult, means_ms: Floats) -> tuple[float, float]:
    """Return by how many % mean TTFT and TPOT of a run are off."""
    ttft_ms, tpot_ms = np.split(means_ms, 2)
    sizes = np.bincount(run.group)
    of = [(each * sizes).sum() for each in (ttft_ms, run.ttft_ms, tpot_ms, run.tpot_ms)]
    return float(100 * (of[0] / of[1] - 1)), float(100 * (of[2] / of[3] - 1))


def _pair(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _check_lengths(run: BenchResult, limits: Limits) -> None:
    longest = int((run.workload.prompt_tokens + run.workload.output_tokens).max())
    if longest > limits.max_model_len:
        raise InputError(
            f"{run.source}: a request has {longest} tokens; expected {limits.max_model_len} or fewer"
        )
    if not (run.workload.output_tokens > 1).any():
        raise InputError(
            f"{run.source}: no request has two output tokens; expected some, for the time per token"
        )


def _profile(gpu: Gpu, start: EngineOverheads, fit: BenchFit, runs: Sequence[BenchResult], name: str) -> Gpu:
    """Return the profile with the fitted block before all others."""
    left = fit.left_out_pct
    ttft, tpot = fit.fitted_pct
    said = (
        f"fitted to {counted(len(runs), 'load test')}: TTFT {ttft:.1f} % and TPOT {tpot:.1f} % off on average"
    )
    said += (
        "; too few to leave any out" if left is None else f", left out {left[0]:.1f} % and {left[1]:.1f} %"
    )
    kept = [each.name for each in PARAMETERS if each.name not in fit.solution.values]
    block = start.model_copy(update={
        **{key: round(value, 6) for key, value in fit.solution.values.items()},
        "engine_version": f"as benchmarked ({runs[0].source}{', ...' * (len(runs) > 1)})",
        "source": "servesim profile fit: " + ", ".join(run.source for run in runs),
        "licence": "yours", "date": datetime.date.today(), "fitted_on": None,
        "remark": f"Overheads {said}." + (f" Kept: {', '.join(kept)}." if kept else ""),
    })  # fmt: skip
    blocks = {key: each for key, each in gpu.engine_overheads.items() if key != "fitted"}
    return gpu.model_copy(update={
        "name": name or f"{gpu.name}-fitted",
        "validated": f"overheads {said}. The rest is that of {gpu.name}: {gpu.validated.strip()}",
        "engine_overheads": {"fitted": block, **blocks},
    })  # fmt: skip
