"""Simulate the arrivals and lengths that a load test recorded, and pair the requests of both.

The arrivals are those that were measured, also where clients waited for answers before they sent the next request.
Requests that did not complete are left out: how long their answers would have been is not known.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.results.imports import ServedRun
from simulator.results.measured import MeasuredResult, measured_result
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario

KINDS = ("ttft_s", "tpot_s", "e2e_s")  # of latency, as properties of a RequestLog
_KEPT = ("predictor", "predictor_sigma", "predictor_buckets", "predictor_accuracy")  # keys of [workload]


@dataclass(frozen=True)
class Replayed:
    """Both runs; ``rows`` are those of the real one that were simulated, in order of arrival."""

    real: MeasuredResult
    simulated: Result
    rows: Ints  # i64[simulated requests]

    @property
    def left_out(self) -> int:
        """Requests that did not complete on the real server."""
        return self.real.log.n - len(self.rows)

    def latencies_s(self, kind: str) -> tuple[Floats, Floats]:
        """Return TTFT, TPOT or E2E of each simulated request, real and simulated; NaN for one that has none."""
        return _of(self.real.log, kind)[self.rows], _of(self.simulated.log, kind)

    def errors(self, kind: str) -> Floats:
        """Return simulated over real less 1, of the requests that have both and whose real one is above 0."""
        real_s, simulated_s = self.latencies_s(kind)
        both = (real_s > 0) & ~np.isnan(simulated_s)
        off: Floats = simulated_s[both] / real_s[both] - 1
        return off

    def spreads(self) -> dict[str, dict[str, float | None]]:
        """Return by kind of latency how far the simulation is off: of the means, and |off| of each request.

        ``real_mean_s`` and ``simulated_mean_s`` are over the requests that have both.
        """
        found: dict[str, dict[str, float | None]] = {}
        for kind in KINDS:
            real_s, simulated_s = self.latencies_s(kind)
            both, off = ~np.isnan(real_s) & ~np.isnan(simulated_s), np.abs(self.errors(kind))
            found[kind] = {
                "real_mean_s": float(real_s[both].mean()) if both.any() else None,
                "simulated_mean_s": float(simulated_s[both].mean()) if both.any() else None,
                "off_p50": float(np.quantile(off, 0.5)) if len(off) else None,
                "off_p90": float(np.quantile(off, 0.9)) if len(off) else None,
                "requests": len(off),
            }
        return found

    def summaries(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the summary of each, for the scenario's user and targets."""
        return self.real.summary(), self.simulated.summary()


def replay(
    run: ServedRun,
    path: Path,
    scenario: Scenario,
    traffic: Path,
    simulate: Callable[[Scenario], Result],
    *,
    spread_evenly: bool = False,
) -> Replayed:
    """Write the traffic of a run to ``traffic``, a trace in CSV, and simulate it under a scenario.

    Of the scenario's [workload] what a predictor says is kept, all else is what the file has. Raises InputError for a
    run whose file does not say when requests were sent or how long prompts are, and OSError where the disk refuses.
    """
    if not run.has_times:
        raise InputError(
            f"{path}: does not say when requests were sent; expected a file that does, to replay it"
        )
    if not run.has_prompts:
        raise InputError(
            f"{path}: does not say how long prompts are; expected a file that does, to replay it"
        )
    real = measured_result(run, path, scenario.model_dump(mode="json"), spread_evenly=spread_evenly)
    rows = np.flatnonzero(real.log.completed & (run.prompt_tokens > 0))
    if not len(rows):
        raise InputError(f"{path}: no request completed with a prompt; expected some, to replay them")
    _write_traffic(run, rows, traffic)
    workload = {key: value for key in _KEPT if (value := getattr(scenario.workload, key)) is not None}
    tables = scenario.to_tables()
    tables["workload"] = {**workload, "trace": str(traffic.resolve())}
    simulated = simulate(Scenario(**tables))
    return Replayed(real, simulated, rows)


def _write_traffic(run: ServedRun, rows: Ints, path: Path) -> None:
    columns: dict[str, Any] = {
        "arrival_s": run.arrival_s[rows] - run.arrival_s[rows[0]],
        "prompt_tokens": run.prompt_tokens[rows],
        "output_tokens": run.output_tokens[rows],
    }
    if run.thinking_tokens is not None:
        columns["thinking_tokens"] = run.thinking_tokens[rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _of(log: RequestLog, kind: str) -> Floats:
    values: Floats = getattr(log, kind)
    return values
