"""The band around a prediction: the same traffic with steps as much shorter and longer as they were off where measured.

A scored row says predicted / measured = 1 + error. So where errors are within e, true steps take from 1 / (1 + e) to
1 / (1 - e) times as long as predicted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles import Gpu, load_gpu
from hardware_profiles.validated import (
    SHARE,
    ValidatedError,
    validated_error,
)
from simulator.errors import InputError
from simulator.report.measures import in_printed_unit, printed_name
from simulator.report.tables import Document, PrintedCell, Table, TableColumn, Words, amount
from simulator.report.text import number
from simulator.report.validated import RunNumbers, corners, counts_for, load_of
from simulator.results.vocabulary import measure_of
from simulator.scenario.scenario import Scenario

LEAST_ERROR_PCT = (
    5.0  # of kernels alone: what engine overheads were off on other runs of the one GPU measured so
)
UNMEASURED_ERROR_PCT = 10.0  # of a GPU whose profile states no error
MOST_ERROR_PCT = 90.0  # steps ten times as long; a larger error says nothing
NEAR_SATURATION = 2.0  # times a latency changes within the band, from which that is said
_FOREVER_S = 1e9
_SHOWN = {  # by the metric whose validated error is of it
    "latency.ttft_s.mean": "TTFT",
    "latency.ttft_s.p99": "",
    "latency.tpot_s.mean": "TPOT",
    "latency.e2e_s.mean": "E2E",
    "throughput.output_tokens_per_s": "throughput",
    "smooth_goodput.smooth_goodput_tokens_per_s": "",
}


@dataclass(frozen=True)
class StepError:
    """By how many % steps may be off, and where that is from."""

    pct: float
    said: str
    validated: bool  # by measured servers; else by kernels, or assumed

    @property
    def factors(self) -> tuple[float, float]:
        """How many times as long as predicted steps take at the ends of the band."""
        e = min(self.pct, MOST_ERROR_PCT) / 100
        return 1 / (1 + e), 1 / (1 - e)


def step_error(scenario: Scenario, base_dir: Path | None, load: str | None = None) -> StepError:
    """Return the largest error of the scenario's pools: of TPOT where validated, else of kernels on that GPU."""
    found = []
    for corner in corners(scenario, base_dir, load):
        error, rows = validated_error(corner, "TPOT")
        if error is not None:
            said = f"{error.corner}: {SHARE:.0%} of {error.n} measured TPOTs within {error.within_pct:.3g} %"
            found.append(StepError(error.within_pct, said, True))
            continue
        gpu = load_gpu(corner.gpu, base_dir)
        few = f"{rows} measured rows, too few for a band" if rows else "no server was measured"
        found.append(StepError(_of_kernels(gpu), f"{corner}: {few}; {gpu.validated.strip()}", False))
    return max(found, key=lambda each: each.pct)


def _of_kernels(gpu: Gpu) -> float:
    error = gpu.kernel_fit.error
    if error is None:
        return UNMEASURED_ERROR_PCT
    kinds = (error.prefill_pct, error.prefill_after_prior_context_pct, error.decode_pct, error.mixed_pct)
    return max(LEAST_ERROR_PCT, *kinds)


def slowed(scenario: Scenario, factor: float) -> Scenario:
    """Return the scenario with every step on every replica so many times as long, as a fault that never ends."""
    if scenario.engine.kv_offloading.tiers:
        raise InputError(
            "band: with engine.kv_offloading.tiers, beside which steps cannot be changed; expected none"
        )
    events = [event.model_dump() for event in scenario.cluster.faults.events]
    events += [
        {"kind": "slow", "replica": i, "at_s": 0.0, "for_s": _FOREVER_S, "factor": factor}
        for i in range(scenario.cluster.total_replicas)
    ]
    tables = scenario.to_tables()
    cluster = tables.setdefault("cluster", {})
    cluster["faults"] = {**cluster.get("faults", {}), "events": events}
    return Scenario(**tables)


def banded(
    scenario: Scenario,
    base_dir: Path | None,
    summary: RunNumbers,
    simulate: Callable[[Scenario], RunNumbers],
) -> tuple[StepError, list[RunNumbers]]:
    """Simulate the same traffic with the shortest and the longest steps that the error allows."""
    error = step_error(scenario, base_dir, load_of(summary))
    return error, [simulate(slowed(scenario, factor)) for factor in error.factors]


def band_document(
    name: str,
    scenario: Scenario,
    base_dir: Path | None,
    summary: RunNumbers,
    error: StepError,
    ends: Sequence[RunNumbers],
) -> Document:
    """Return each number with what it is at the ends, its validated error, and the band that holds both."""
    where = corners(scenario, base_dir, load_of(summary))
    columns = [TableColumn(f"{name}: band", left=True, wraps=True), TableColumn("predicted")]
    columns += [TableColumn(f"steps x {factor:.3g}", rank=1) for factor in error.factors]
    columns += [TableColumn("validated +-", "%", rank=2), TableColumn("band", left=True)]
    rows: list[list[PrintedCell]] = []
    wide = []
    for key, metric in _SHOWN.items():
        measure = measure_of(key)
        value, *other = [in_printed_unit(measure, measure.of(each)) for each in (summary, *ends)]
        known = (
            []
            if not metric or not counts_for(metric, scenario, summary)
            else [validated_error(each, metric)[0] for each in where]
        )
        own = max(
            (each for each in known if each is not None), key=lambda each: each.within_pct, default=None
        )
        low, high = _ends(value, other, own if len(known) and None not in known else None)
        if low and high and high / low >= NEAR_SATURATION and measure.unit == "s":
            wide.append(f"{measure.label} {high / low:.2g}-fold")
        rows.append(
            [
                printed_name(measure),
                amount(value),
                *(amount(each) for each in other),
                amount(None if own is None else own.within_pct),
                f"{number(low)} to {number(high)}",
            ]
        )
    said = [f"steps may be {error.pct:.3g} % off: {error.said}"]
    if not error.validated:
        said.append("not validated: the band stands for kernels, or is assumed, and may be too narrow")
    if wide:
        said.append(f"near saturation the band is wide: {', '.join(wide)} from one end to the other")
    return Document([Table(columns, rows), Words(said)])


def _ends(
    value: float | None, other: Sequence[float | None], own: ValidatedError | None
) -> tuple[float | None, float | None]:
    found = [each for each in (value, *other) if each is not None]
    if value is not None and own is not None:
        e = min(own.within_pct, MOST_ERROR_PCT) / 100
        found += [value / (1 + e), value / (1 - e)]
    return (min(found), max(found)) if found else (None, None)
