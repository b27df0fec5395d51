"""A scenario as something that can be simulated at a rate: its traffic at any rate, and its runs."""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.studies import warmup
from simulator.studies.capacity import measured
from simulator.studies.capacity.book import Ask, Seen
from simulator.studies.capacity.measured import (
    OVERLOAD,
    SATURATED,
    TOO_SHORT,
    measure,
    measure_for_comparison,
)
from simulator.studies.capacity.roofline import most_rate
from simulator.studies.capacity.target import Target
from simulator.studies.points import Kept, Point
from simulator.studies.workers import Workers
from simulator.workload import build
from simulator.workload.load_keys import first_given

FIRST_REQUESTS = 1000
FEWEST_REQUESTS = 100  # of a run: with fewer, a queue that grows cannot be told from luck


@dataclass(frozen=True)
class CapacityPoint(Point):
    """A simulation of which warm-up is cut."""

    compared: bool  # whether its rates are compared with those at other request rates

    @property
    def digest(self) -> str:
        """What its result is kept under: also how it is measured."""
        sources = [inspect.getsource(module).encode() for module in (measured, warmup)]
        parts = [super().digest.encode(), str(self.compared).encode(), *sources]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


class ScaledTraffic:
    """A scenario's traffic at any rate: which keys to set, where to begin, and what no schedule can serve.

    Raises InputError for traffic that has no steady rate, and for a horizon, which would cut runs at some rates only.
    """

    def __init__(
        self, scenario: Scenario, base_dir: Path | None, requests: int | None, compared: bool = False
    ) -> None:
        """``compared``: rates are compared with each other, not each with a bound."""
        spec = scenario.workload
        self.compared = compared
        self.scenario, self.base_dir = scenario, base_dir
        if spec.concurrency is not None or spec.arrivals == "burst":
            raise InputError(
                "workload: clients that wait for answers, or a burst, have no rate to search; expected arrivals ="
                " 'poisson', 'gamma' or 'constant', or a trace"
            )
        if (changing := first_given(spec)) is not None:
            raise InputError(
                f"workload.{changing}: a rate that changes has no highest value that is kept; expected none,"
                " or servesim sweep over workload.rate_rps"
            )
        if scenario.run.horizon_s is not None:
            raise InputError(
                "run.horizon_s: would cut runs off at some rates only; expected none (--set run.horizon_s=none)"
            )
        self.replayed = spec.trace is not None
        self.of = "sessions" if spec.session_turns is not None else "requests"
        if self.replayed and requests is not None:
            raise InputError("--requests: no meaning for a trace; expected --set workload.limit=N to cut it")
        arrivals_s = build(spec, scenario.seed, base_dir).arrival_s if self.replayed else np.empty(0)
        arrivals_s = arrivals_s[np.isfinite(arrivals_s)]
        if spec.rate_rps is not None:
            self.start = spec.rate_rps
        elif len(arrivals_s) and arrivals_s[-1] > arrivals_s[0]:
            self.start = float((len(arrivals_s) - 1) / (arrivals_s[-1] - arrivals_s[0]))
        else:
            raise InputError(f"workload.trace: {spec.trace} has no time between arrivals, so it has no rate")
        drawn = requests or max(spec.requests or FIRST_REQUESTS, FEWEST_REQUESTS)
        self.requests = len(arrivals_s) if self.replayed else drawn
        self.most_rate = most_rate(scenario, base_dir, None if self.replayed else self.requests)

    def point(self, ask: Ask) -> CapacityPoint:
        """Return a simulation at a rate."""
        settings = [f"workload.rate_rps={ask.rate!r}", f"seed={ask.seed}"]
        if self.replayed:
            settings.append("workload.rate_scale=none")
        else:
            settings += ["workload.duration_s=none", f"workload.requests={ask.requests}"]
        values = {"rate_rps": ask.rate, "requests": ask.requests}
        scenario = self.scenario.with_overrides(settings)
        return CapacityPoint(values, ask.seed, scenario, self.base_dir, self.compared)


class CapacityRuns:
    """Simulates a scenario at rates, several at once; what is done is kept in a folder and not done again."""

    def __init__(
        self,
        traffic: ScaledTraffic,
        target: Target,
        folder: Path,
        workers: Workers,
        on_done: Callable[[int], None],
    ) -> None:
        self.traffic, self.target, self.workers, self.on_done = traffic, target, workers, on_done
        self.kept = Kept(folder)
        self.measure = measure_for_comparison if traffic.compared else measure
        self.found: dict[Ask, Mapping[str, Any]] = {}

    def __call__(self, asks: Sequence[Ask]) -> list[Seen]:
        """Return what each simulation shows. InputError for one that cannot be simulated."""
        points = {ask: self.traffic.point(ask) for ask in asks}
        missing: list[Ask] = []
        for ask, point in points.items():
            found = self.kept.get(point)
            if found is None:
                missing.append(ask)
            else:
                self._take(ask, found)
        for ask, found in self.workers.done(self.measure, {ask: (points[ask],) for ask in missing}):
            if "error" not in found:
                self.kept.put(points[ask], found)
            self._take(ask, found)
        return [self._seen(self.found[ask]) for ask in asks]

    def _take(self, ask: Ask, found: Mapping[str, Any]) -> None:
        if "error" in found:
            raise InputError(f"at {ask.rate:.6g} {self.traffic.of}/s, seed {ask.seed}: {found['error']}")
        if self.target.key not in found:
            raise InputError(f"--target {self.target.text}: no metric {self.target.key!r} in these runs")
        self.found[ask] = found
        self.on_done(len(self.found))

    def _seen(self, found: Mapping[str, Any]) -> Seen:
        value = found[self.target.key]
        details = {key: value for key, value in found.items() if isinstance(value, int | float)}
        value = math.nan if value is None else value
        return Seen(value, found[SATURATED], details, found[TOO_SHORT], found[OVERLOAD])
