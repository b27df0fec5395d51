"""The highest rate that keeps a target, of anything that can be simulated at a rate.

Two steps. LOOKING finds about where it is: rates are doubled or halved, then bisected, one simulation each with
one seed, so that at neighbouring rates the same requests come closer together (common random numbers); a few
more seeds there say how noisy it is, and how long runs must be. SHOWING then asks fresh seeds, which had no part
in the choice, about a rate just below and one just above, until a sequential test decides. So the confidence of
the answer is that of its two ends, whatever the looking did. Ends that cannot be shown are moved apart, and
their runs made longer.

Assumed: the target is kept up to some rate and missed beyond it, and means over replications are about normal.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from simulator.stats import CONFIDENCE, Interval, Looks, interval

MOST_DOUBLINGS = 20  # up
MOST_HALVINGS = 10  # down: what is missed at a thousandth of a rate is hardly missed for its load
PILOTS = 3  # seeds that say how noisy the target is
MOST_GROWTH = 4.0  # of the length of runs, at once
STEPS = (1, 2, 4, 8)  # where an end is tried, in wanted half-widths from the middle

Verdict = Literal["holds", "fails", "below", "best", "above", "undecided"]


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
class Plan:
    """How to search."""

    start: float  # rate to begin at
    requests: int  # a run, at first
    most_requests: int  # a run; equal to requests: its length stays
    within: float = 0.02  # wanted half-width of the answer, relative
    confidence: float = CONFIDENCE
    most_simulations: int = 100
    looks: tuple[int, ...] = (4, 5, 6, 8, 12)  # replications of a rate after which a verdict may fall
    seed: int = 0


@dataclass(frozen=True)
class Shown:
    """The verdict on one rate, from replications that had no part in its choice."""

    rate: float
    verdict: Verdict
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

    def __init__(self, simulate: Simulate, plan: Plan) -> None:
        self.simulate, self.plan = simulate, plan
        self.runs: dict[Ask, Seen] = {}
        self.shown: list[Shown] = []
        self.notes: list[str] = []
        self.requests = plan.requests

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
        asks = [[Ask(rate, self.plan.seed + seed, self.requests) for seed in seeds] for rate in rates]
        new = [ask for row in asks for ask in row if ask not in self.runs]
        if len(self.runs) + len(new) > self.plan.most_simulations:
            raise SpentError
        self.runs.update(zip(new, self.simulate(new), strict=True))
        return [[self.runs[ask] for ask in row] for row in asks]

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
        """What was found, with the confidence of ends that were shown."""
        return Answer(rate, low, high, self.plan.confidence, self.shown, self.runs, self.notes)

    def shared(self, tried: int) -> float:
        """The confidence of the next two verdicts, so that all of them together have the plan's.

        A quarter of what may go wrong for each of the first two, an eighth for the next two, and so on.
        """
        return 1 - math.ldexp(1 - self.plan.confidence, -(tried // 2 + 2))


def highest_rate(simulate: Simulate, bound: Bound, plan: Plan) -> Answer:
    """Return the highest rate that keeps a target.

    ``simulate`` gets several simulations at once, to be made side by side where it can. For one seed it is to
    draw the same requests at every rate, only closer together. It has warm-up left out already.
    """
    book = Book(simulate, plan)
    middle: float | None = None
    low: float | None = None
    high: float | None = None
    try:
        low, high = _bracket(book, lambda rate: bound.met(book.first(rate)))
        while low is not None and high is not None and high / low > (1 + plan.within) ** 2:
            rate = math.sqrt(low * high)
            low, high = (rate, high) if bound.met(book.first(rate)) else (low, rate)
        if low is None or high is None:
            middle = high if low is None else low
            assert middle is not None
            word = "missed even at" if low is None else "kept even at"
            book.notes.append(f"the target is {word} {middle:.4g}, the last rate tried")
            return _one_end(book, bound, low, high)
        middle, fixed = _pilot(book, bound, low, high)
        if fixed:
            book.notes.append(
                "nothing is random here: the ends hold for exactly this traffic, not for others"
            )
            return Answer(math.sqrt(low * high), low, high, None, (), book.runs, book.notes)
        return _ends(book, bound, middle)
    except SpentError:
        book.spent()
        if low is not None and high is not None:
            book.notes.append(f"one seed had put it between {low:.4g} and {high:.4g} by then")
        return book.answer(middle, *_between(book.shown))


def _bracket(book: Book, holds: Callable[[float], bool]) -> tuple[float | None, float | None]:
    """Double or halve the first rate until it fails, or holds; None for the side that was not found."""
    rate = book.plan.start
    if holds(rate):
        for _ in range(MOST_DOUBLINGS):
            if not holds(2 * rate):
                return rate, 2 * rate
            rate *= 2
        return rate, None
    for _ in range(MOST_HALVINGS):
        if holds(rate / 2):
            return rate / 2, rate
        rate /= 2
    return None, rate


def _pilot(book: Book, bound: Bound, low: float, high: float) -> tuple[float, bool]:
    """Return a better guess of the rate, from several seeds, and whether nothing is random.

    Runs are made longer until their noise, as noise of the rate, is a third of the wanted half-width: six
    replications then tell such a distance.
    """
    plan = book.plan
    middle, seeds = math.sqrt(low * high), range(1, PILOTS + 1)
    ends = book.first(low).value, book.first(high).value
    slope = (ends[1] - ends[0]) / math.log(high / low)  # of the metric over the logarithm of the rate
    for _ in range(8):  # lengths grow to the longest long before
        (seen,) = book.see([middle], seeds)
        values = np.array([each.value for each in seen])
        if alike(seen):
            return middle, True
        if not np.isfinite([slope, *values]).all() or slope == 0 or (slope > 0) != bound.at_most:
            return middle, False
        furthest = 2 * math.log(1 + plan.within)
        step = float(bound.value - values.mean()) / slope
        middle *= math.exp(min(max(step, -furthest), furthest))
        noise = float(values.std(ddof=1)) / abs(slope)
        growth = min((noise / (plan.within / 3)) ** 2, MOST_GROWTH)
        longer = min(math.ceil(book.requests * growth), plan.most_requests)
        if longer < 1.3 * book.requests:
            return middle, False
        book.requests = longer
    return middle, False


def _ends(book: Book, bound: Bound, middle: float) -> Answer:
    """Show one rate to hold and one to fail, with longer runs further from the middle where that fails."""
    for step in STEPS:
        low, high = _between(book.shown)
        width = (1 + book.plan.within) ** step
        wanted = ([middle / width] if low is None else []) + ([middle * width] if high is None else [])
        if not wanted:
            break
        book.shown += _show(book, bound, wanted)
        if any(each.verdict == "undecided" for each in book.shown[-len(wanted) :]):
            book.requests = min(2 * book.requests, book.plan.most_requests)
    low, high = _between(book.shown)
    if low is not None and high is not None and not low < middle < high:
        middle = math.sqrt(low * high)
    elif low is not None:
        middle = max(middle, low)
    elif high is not None:
        middle = min(middle, high)
    return book.answer(middle, low, high)


def _one_end(book: Book, bound: Bound, low: float | None, high: float | None) -> Answer:
    book.shown += _show(book, bound, [rate for rate in (low, high) if rate is not None])
    return book.answer(None, *_between(book.shown))


def _show(book: Book, bound: Bound, rates: Sequence[float]) -> list[Shown]:
    """Replicate rates until each is decided or the last look is over."""
    looks = Looks(book.plan.looks, book.shared(len(book.shown)))
    count = looks.next_count(0)
    shown: dict[float, Shown] = {}
    while count is not None:
        open_ = [rate for rate in rates if rate not in shown or shown[rate].verdict == "undecided"]
        rows = book.see(open_, book.fresh(count)) if open_ else []
        for rate, seen in zip(open_, rows, strict=True):
            verdict = _verdict(bound, looks, seen)
            shown[rate] = Shown(rate, verdict, seen, book.requests, looks.confidence)
        count = looks.next_count(count)
    return [shown[rate] for rate in rates]


def _verdict(bound: Bound, looks: Looks, seen: Sequence[Seen]) -> Verdict:
    """Decide by the mean, but never for a rate at which the system is saturated.

    Half of the replications, and two at least: one alone is told saturated by a long burst once in a while.
    """
    saturated = sum(each.saturated is not None for each in seen)
    if saturated >= max(2, len(seen) / 2):
        return "fails"
    values = [each.value for each in seen]
    side = looks.side(values, bound.value) if np.isfinite(values).all() else None
    if side is None:
        return "undecided"
    if (side == "below") == bound.at_most:
        return "undecided" if saturated > 1 else "holds"
    return "fails"


def _between(shown: Sequence[Shown]) -> tuple[float | None, float | None]:
    """Return the highest rate shown to hold below the lowest one shown to fail, and that one."""
    high = min((each.rate for each in shown if each.verdict == "fails"), default=None)
    held = [each.rate for each in shown if each.verdict == "holds" and (high is None or each.rate < high)]
    return max(held, default=None), high
