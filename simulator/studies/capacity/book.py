"""What a search for a rate is made of: its simulations, each made once, and what they were shown to say."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from simulator.stats import CONFIDENCE, Interval, interval

PILOTS = 3  # seeds that say how noisy the target is

RateVerdict = Literal["holds", "fails", "below", "best", "above", "undecided"]


class Ask(NamedTuple):
    """A simulation to be made."""

    rate: float
    seed: int
    requests: int


@dataclass(frozen=True)
class Seen:
    """What a simulation showed."""

    value: float  # of the target's metric, or of the objective; NaN where it does not exist
    saturated: str | None = None  # why the system does not keep up with its arrivals; None if it does
    details: Mapping[str, float] = field(default_factory=dict)  # other numbers, for those who look at them
    too_short: bool = False  # a run so short that it cannot be told whether it is saturated
    growth: float = 0.0  # share of the arrivals that was added to the requests in the system


Simulate = Callable[[Sequence[Ask]], Sequence[Seen]]


@dataclass(frozen=True)
class Bound:
    """A target: the metric's mean at most, or at least, this."""

    value: float
    at_most: bool

    def met(self, seen: Seen) -> bool:
        """Whether one simulation keeps the target; a saturated one never does."""
        kept = seen.value <= self.value if self.at_most else seen.value >= self.value
        return seen.saturated is None and kept


@dataclass(frozen=True)
class SearchPlan:
    """How to search."""

    start: float  # rate to begin at
    requests: int  # a run, at first; where runs are of one time, at the rate in the middle of those compared
    most_requests: int  # a run; equal to requests: its length stays
    within: float = 0.02  # wanted half-width of the answer, relative
    confidence: float = CONFIDENCE
    most_simulations: int = 100
    looks: tuple[int, ...] = (4, 5, 6, 8, 12)  # replications of a rate after which a verdict may fall
    seed: int = 0
    most_rate: float = math.inf  # above which not all can be served, and nothing is simulated
    by_time: bool = True  # rates are compared for their worth over one time; off: with the same requests


@dataclass(frozen=True)
class Shown:
    """The verdict on one rate, from replications that had no part in its choice."""

    rate: float
    verdict: RateVerdict
    seen: Sequence[Seen]
    requests: int  # a run
    confidence: float  # of this verdict

    @property
    def saturated(self) -> int:
        """How many of the replications were saturated."""
        return sum(seen.saturated is not None for seen in self.seen)

    @property
    def mean(self) -> Interval | None:
        """The mean of the metric with its 95 % interval; None where some value does not exist."""
        values = [seen.value for seen in self.seen]
        return interval(values) if np.isfinite(values).all() else None


@dataclass(frozen=True)
class Answer:
    """A rate and its interval.

    ``low`` is the highest rate shown to hold, ``high`` the lowest shown to fail; None: none was shown. For an
    objective they are rates shown to be below and above the best one. Both together are right with the
    ``confidence``; None where nothing is random and the ends hold and fail for exactly this traffic.
    """

    rate: float | None
    low: float | None
    high: float | None
    confidence: float | None
    shown: Sequence[Shown]
    runs: Mapping[Ask, Seen]
    notes: Sequence[str]


def alike(seen: Sequence[Seen]) -> bool:
    """Whether simulations with several seeds are all the same: nothing in them is random."""
    return len({(each.value, tuple(sorted(each.details.items()))) for each in seen}) == 1


class SpentError(Exception):
    """No simulation is left."""


class Book:
    """All simulations of a search, none made twice."""

    def __init__(self, simulate: Simulate, plan: SearchPlan) -> None:
        self.simulate, self.plan = simulate, plan
        self.runs: dict[Ask, Seen] = {}
        self.shown: list[Shown] = []
        self.notes: list[str] = []
        self.requests = plan.requests
        self._middle: float | None = None  # all runs take the time of so many requests at this rate

    def compare_around(self, rate: float) -> None:
        """From now on runs take the time that ``requests`` take at ``rate``, whatever their own rate is."""
        self._middle = rate if self.plan.by_time else None

    def length(self, rate: float) -> int:
        """Requests of a run at a rate."""
        return self.requests if self._middle is None else max(1, round(self.requests * rate / self._middle))

    def see(self, rates: Sequence[float], seeds: Sequence[int]) -> list[list[Seen]]:
        """Simulate every rate with every seed (numbers from 0 on, the plan's first); a row a rate.

        Where a run is too short, all are made longer, from then on.
        """
        while True:
            rows = self._see(rates, seeds)
            if self.requests >= self.plan.most_requests or not any(s.too_short for row in rows for s in row):
                return rows
            self.requests = min(2 * self.requests, self.plan.most_requests)

    def _see(self, rates: Sequence[float], seeds: Sequence[int]) -> list[list[Seen]]:
        asks = [[self.ask(rate, seed) for seed in seeds] for rate in rates]
        new = [ask for row in asks for ask in row if ask not in self.runs]
        if len(self.runs) + len(new) > self.plan.most_simulations:
            raise SpentError
        self.runs.update(zip(new, self.simulate(new), strict=True))
        return [[self.runs[ask] for ask in row] for row in asks]

    def ask(self, rate: float, seed: int) -> Ask:
        """The simulation of a rate with a seed (a number from 0 on, the plan's first)."""
        return Ask(rate, self.plan.seed + seed, self.length(rate))

    def first(self, rate: float) -> Seen:
        """Simulate a rate with the first seed."""
        return self.see([rate], [0])[0][0]

    def spent(self) -> None:
        """Note that no simulation is left."""
        self.notes.append(f"stopped: {self.plan.most_simulations} simulations are the most allowed")

    def fresh(self, count: int) -> range:
        """The seeds of the first ``count`` replications that have no part in any choice."""
        return range(PILOTS + 1, PILOTS + 1 + count)

    def answer(self, rate: float | None, low: float | None, high: float | None) -> Answer:
        """What was found, with the confidence of ends that were shown; a rate among those that were simulated."""
        if rate is not None and self.runs:
            rates = [ask.rate for ask in self.runs]
            rate = min(max(rate, min(rates)), max(rates))
        return Answer(rate, low, high, self.plan.confidence, self.shown, self.runs, self.notes)

    def shared(self, tried: int) -> float:
        """The confidence of the next two verdicts, so that all of them together have the plan's.

        A quarter of what may go wrong for each of the first two, an eighth for the next two, and so on.
        """
        return 1 - math.ldexp(1 - self.plan.confidence, -(tried // 2 + 2))
