"""Does the plan still keep its target if traffic, answers or the hardware come out differently?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.replica.request import TRACE_COLUMNS
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval
from simulator.studies.band import slowed, step_error
from simulator.studies.plan.line import Line
from simulator.studies.plan.runs import CandidateRuns, Trial
from simulator.studies.plan.space import PlanFile
from simulator.workload import Workload
from simulator.workload.load_keys import first_given

LONGER = 1.25  # outputs
RATES = (0.8, 1.2)
# Of a workload's keys, those that are not about the making of requests, which a file then holds
_NOT_MADE = ("concurrency", "predictor", "predictor_sigma", "predictor_buckets", "predictor_accuracy")


@dataclass(frozen=True)
class Check:
    """One thing that may come out differently, and what the plan then does."""

    what: str
    keeps: bool | None  # None: not tried
    margin: float  # of the worst goal in the worst seed
    numbers: dict[
        str, Interval
    ]  # of the goals' metrics, mean over the seeds; no ends where these change nothing
    note: str = ""


def checks(plan: PlanFile, runs: CandidateRuns, best: tuple[Line, int], out: Path) -> list[Check]:
    """Simulate the plan as it is and with each change, whole and with every seed."""
    scenario = plan.scenario(*best)
    error = step_error(scenario, plan.base_dir)
    changes: list[tuple[str, str, list[Scenario] | str]] = [("as planned", "", _seeds(scenario, runs))]
    changes += [(f"traffic x {rate:g}", "", _faster(scenario, rate, runs, out)) for rate in RATES]
    changes.append((f"outputs x {LONGER:g}", "", _filed(scenario, runs, out / "longer", longer)))
    longest = error.factors[1]
    slower = f"steps {100 * (longest - 1):.3g} % slower"
    changes.append((slower, error.said, _seeds(slowed(scenario, longest), runs)))
    trials: list[Trial] = []
    for what, _, scenarios in changes:
        if isinstance(scenarios, str):
            continue
        trials += [Trial({"check": what}, each.seed, each, plan.base_dir) for each in scenarios]
    results = iter(zip(trials, runs.run(trials), strict=True))
    found = []
    for what, note, scenarios in changes:
        if isinstance(scenarios, str):
            found.append(Check(what, None, math.nan, {}, scenarios))
            continue
        own = [next(results)[1] for _ in scenarios]
        found.append(_check(what, note, plan, own))
    return found


def _check(what: str, note: str, plan: PlanFile, results: Sequence[dict[str, Any]]) -> Check:
    failed = next((result["error"] for result in results if "error" in result), None)
    if failed is not None:
        return Check(what, False, -math.inf, {}, failed)
    least = min(goal.margin(result.get(goal.metric)) for goal in plan.goals for result in results)
    numbers = {}
    alike = all(result == results[0] for result in results)  # one trace, no spread
    for goal in plan.goals:
        values = [value for result in results if (value := result.get(goal.metric)) is not None]
        if len(values) == len(results):
            over = interval(values[:1] if alike else values)
            numbers[goal.metric] = over.within(*measure_of(goal.metric).possible)
    return Check(what, least >= 0, least, numbers, note)


def _seeds(scenario: Scenario, runs: CandidateRuns) -> list[Scenario]:
    return [scenario.with_overrides([f"seed={seed}"]) for seed in runs.seeds]


def _faster(scenario: Scenario, factor: float, runs: CandidateRuns, out: Path) -> list[Scenario] | str:
    """Return the scenario with more or less traffic; why not, where that has no meaning."""
    spec = scenario.workload
    more: list[str] = []
    if spec.concurrency is not None:
        change = f"concurrency={max(1, round(spec.concurrency * factor))}"
    elif spec.rate_rps is not None:
        change = f"rate_rps={spec.rate_rps * factor!r}"
        if (
            spec.requests is not None and first_given(spec) is not None
        ):  # as much of the load's time as before
            more = [f"workload.requests={max(1, round(spec.requests * factor))}"]
    elif spec.arrivals is not None:
        if spec.arrivals != "burst":  # a load in requests/s: the same requests, closer together
            return _filed(scenario, runs, out / f"rate-x{factor:g}", partial(closer, factor=factor))
        assert spec.requests is not None
        change = f"requests={max(1, round(spec.requests * factor))}"
    else:
        change = f"rate_scale={(spec.rate_scale or 1.0) * factor!r}"
    try:
        return _seeds(scenario.with_overrides([f"workload.{change}", *more]), runs)
    except InputError as error:
        return f"not tried: {error}"


def _filed(
    scenario: Scenario, runs: CandidateRuns, stem: Path, change: Callable[[Workload], Workload]
) -> list[Scenario] | str:
    """Return the scenario with changed requests, in a file for each seed; or why not."""
    found = []
    for seed in runs.seeds:
        alike = scenario.with_overrides([f"seed={seed}"])
        workload = runs.workload(alike)
        if workload.segments is not None or workload.think_s is not None:
            return "not tried: sessions and shared prefixes cannot be written as a trace of other requests"
        path = stem.with_name(f"{stem.name}-seed{seed}.parquet").resolve()
        _write(change(workload), path)
        spec = alike.workload.model_dump(exclude_unset=True, exclude_none=True)
        kept = {key: value for key, value in spec.items() if key in _NOT_MADE}
        tables = {**alike.to_tables(), "workload": {**kept, "trace": str(path)}}
        found.append(Scenario(**tables))
    return found


def longer(workload: Workload) -> Workload:
    """Return a workload with every output LONGER times as long, rounded up."""
    output = np.ceil(workload.output_tokens * LONGER).astype(np.int64)
    return replace(workload, output_tokens=output, max_tokens=int(output.max()))


def closer(workload: Workload, factor: float) -> Workload:
    """Return a workload at so many times the rate; patience stays as long as it was."""
    arrival_s = workload.arrival_s / factor
    optional = dict(workload.optional)
    if "leave_s" in optional:
        optional["leave_s"] = optional["leave_s"] - workload.arrival_s + arrival_s
    return replace(workload, arrival_s=arrival_s, optional=optional)


def _write(workload: Workload, path: Path) -> None:
    """Write a workload as a trace; what it does not have is left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "arrival_s": workload.arrival_s,
        "prompt_tokens": workload.prompt_tokens,
        "output_tokens": workload.output_tokens,
    }
    for name, column in TRACE_COLUMNS.items():
        if name in workload.optional:
            columns[column] = workload.optional[name]
    if workload.leave_s is not None:
        columns["patience_s"] = workload.leave_s - workload.arrival_s
    with whole(path) as part:
        pq.write_table(pa.table(columns), part)
