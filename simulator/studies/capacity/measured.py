"""What is measured of a run at a rate: without warm-up and cool-down, and whether the load was above capacity."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.metrics import RequestLog, stability
from simulator.metrics._window import Window
from simulator.results.vocabulary import numbers
from simulator.studies.capacity.target import GROWTH, SMOOTH
from simulator.studies.points import Point, simulated
from simulator.studies.warmup import mser5

if TYPE_CHECKING:
    from simulator.results.result import Result

SATURATED = "capacity.saturated"
OVERLOAD = "capacity.overload"  # the backlog's growth where that says something of the load
WARM_UP, TOO_SHORT = "capacity.warm_up_requests", "capacity.too_short"
SATURATED_FROM = (
    0.02  # share of the arrivals added to the backlog from which on a single run is called saturated
)
FEWEST_STAYS = 10  # times that a request stays: shorter runs may still be filling up
SIGMAS = 4.0  # by how many standard errors of a Poisson count it must be more than luck
COOL_DOWN = 0.1  # share of the arrivals' time at the end that only keeps up the load
SETTLING = 0.2  # share of that time at the start, where one time is measured at all rates


def measure(point: Point) -> dict[str, Any]:
    """Simulate one point; return its numbers without warm-up and cool-down, or what went wrong with it.

    A trace is measured as ``servesim run`` measures it, with what ``run.trim_warmup`` and ``run.trim_cooldown``
    say; other traffic at least without what MSER-5 finds and without the last tenth of its arrivals' time, in
    which the load is kept up for those before.
    """
    return simulated(point, partial(_numbers, point, None))


def measure_for_comparison(point: Point) -> dict[str, Any]:
    """Simulate one point whose rates are compared with those at other request rates; return as ``measure`` does.

    The same shares of the arrivals' time are left out at all rates, ``SETTLING`` and ``COOL_DOWN``, so that all are
    measured over one time; of a trace as ``measure`` does.
    """
    return simulated(point, partial(_numbers, point, SETTLING))


def _numbers(point: Point, settling: float | None, result: "Result") -> dict[str, Any]:
    replayed = point.scenario.workload.trace is not None
    settled, fed, window = 0, feeding(result), None
    if not replayed:
        arrival_s = result.log.arrival_s
        if settling is None:
            settled = warm_up(result.log)
        else:
            from_s = arrival_s[0] + settling * (fed.until_s - arrival_s[0])
            settled = int(np.searchsorted(arrival_s, from_s))
        window = _without_ends(result, settled, fed.until_s)
    watched = backlog(result.log, settled, fed)
    options = point.scenario.user, point.scenario.slo
    queued = stability.measure(result.log, *options)["reason"]  # strong evidence, for runs of any length
    # Of a trace, whose rate may rise by itself, a growing backlog alone says nothing.
    found = dict(numbers(result.summary(window=window)))
    smooth, gpus = found["smooth_goodput.smooth_goodput_tokens_per_s"], found["cost.gpus"]
    grew = watched.grew and queued is None and not replayed
    return found | {
        SMOOTH: smooth / gpus if smooth is not None and gpus else None,
        GROWTH: watched.growth,
        OVERLOAD: 0.0 if replayed else watched.growth,
        WARM_UP: settled,
        SATURATED: watched.said if grew else queued,
        TOO_SHORT: watched.short and queued is None and not replayed and (grew or settling is not None),
    }


class Feeding(NamedTuple):
    """Until when clients come by themselves, and how long they stay."""

    until_s: float
    stay_s: float  # the 90th percentile of times in the system; of sessions, thinking included


def feeding(result: "Result") -> Feeding:
    """Return until when the load is kept up: the last arrival, of sessions the last that begins.

    Their later turns wait for answers, and come ever more slowly the less the system keeps up.
    """
    log = result.log
    session = (result.request_columns or {}).get("session")
    stay_s = log.end_s - log.arrival_s
    if session is None:
        return Feeding(float(log.arrival_s[-1]), float(np.quantile(stay_s, 0.9)))
    _, first, of = np.unique(session[session >= 0], return_index=True, return_inverse=True)
    begins_s, ends_s = log.arrival_s[session >= 0][first], np.zeros(len(first))
    np.maximum.at(ends_s, of, log.end_s[session >= 0])
    alone = session < 0
    stays_s = np.concatenate([ends_s - begins_s, stay_s[alone]])
    until_s = float(np.concatenate([begins_s, log.arrival_s[alone]]).max())
    return Feeding(until_s, float(np.quantile(stays_s, 0.9)))


def warm_up(log: RequestLog) -> int:
    """Return how many first requests see a system that has not settled; half of them if none can be told.

    The later of what MSER-5 says of TTFT and of TPOT: queues and batches settle in their own time.
    """
    cuts = [0]
    for series in (log.ttft_s, log.tpot_s):
        there = np.flatnonzero(np.isfinite(series))
        if len(there) >= 20:
            cut = mser5(series[there])
            cuts.append(log.n // 2 if cut is None else int(there[cut]))
    return max(cuts)


def _without_ends(result: "Result", settled: int, fed_until_s: float) -> Window:
    """Return the time of the arrivals without the first requests and the end of that in which the load is kept up."""
    arrival_s, own = result.log.arrival_s, result.scoring.window
    span_s = float(arrival_s[-1] - arrival_s[0])
    fed = float(fed_until_s - arrival_s[0]) / span_s if span_s else 1.0
    until = (1 - COOL_DOWN) * fed
    share = float(arrival_s[settled] - arrival_s[0]) / span_s if span_s else 0.0
    return Window("arrivals", max(own.warmup, min(share, until / 2)), max(own.cooldown, 1 - until))


class Backlog(NamedTuple):
    """How the number of requests in the system changed while it was watched."""

    growth: float  # share of the arrivals that was added to it
    arrived: int
    short: bool  # watched so shortly that it may still have been filling up

    @property
    def grew(self) -> bool:
        """Whether it grew, by more than luck would have it."""
        return self.growth > SATURATED_FROM and self.growth * math.sqrt(self.arrived) > SIGMAS

    @property
    def said(self) -> str:
        """What that means."""
        less = ", or the run too short" if self.short else ""
        return f"the backlog grew by {self.growth:.1%} of the arrivals: the load is above capacity{less}"


def backlog(log: RequestLog, settled: int, fed: Feeding | None = None) -> Backlog:
    """Return how the number of requests that have arrived and not left grew, from after ``settled`` requests on.

    Watched from when a client that came first has had time to leave, but at the latest from the middle of the
    arrivals, until the load is not kept up any more: ``fed``, without it the last arrival.
    """
    arrival_s = log.arrival_s
    if fed is None:
        fed = Feeding(float(arrival_s[-1]), float(np.quantile(log.end_s - arrival_s, 0.9)))
    before = int(np.searchsorted(arrival_s, fed.until_s, "right"))
    from_s = max(float(arrival_s[min(settled, log.n - 1)]), float(arrival_s[0]) + fed.stay_s)
    from_s = min(from_s, float(arrival_s[before // 2]))
    left_s = np.sort(log.end_s)
    arrived, left = (
        int(np.searchsorted(times, fed.until_s, "right") - np.searchsorted(times, from_s, "right"))
        for times in (arrival_s, left_s)
    )
    short = fed.until_s - float(arrival_s[0]) < FEWEST_STAYS * fed.stay_s
    return Backlog((arrived - left) / arrived if arrived else 0.0, arrived, short)
