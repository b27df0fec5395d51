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
from collections.abc import Callable, Sequence

import numpy as np

from simulator.stats import Looks
from simulator.studies.capacity.book import (
    PILOTS,
    Answer,
    Book,
    Bound,
    RateVerdict,
    SearchPlan,
    Seen,
    Shown,
    Simulate,
    SpentError,
    alike,
)

MOST_DOUBLINGS = 20  # up
MOST_HALVINGS = 10  # down: what is missed at a thousandth of a rate is hardly missed for its load
MOST_GROWTH = 4.0  # of the length of runs, at once
STEPS = (1, 2, 4, 8)  # where an end is tried, in wanted half-widths from the middle


def highest_rate(simulate: Simulate, bound: Bound, plan: SearchPlan) -> Answer:
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
            book.notes.append(f"the target is {word} {middle:.4g}, {last_rate(plan, middle)}")
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
    most = book.plan.most_rate
    rate = min(book.plan.start, most)
    if holds(rate):
        for _ in range(MOST_DOUBLINGS):
            if rate == most:
                break
            higher = min(2 * rate, most)
            if not holds(higher):
                return rate, higher
            rate = higher
        return rate, None
    for _ in range(MOST_HALVINGS):
        if holds(rate / 2):
            return rate / 2, rate
        rate /= 2
    return None, rate


def last_rate(plan: SearchPlan, rate: float) -> str:
    """Say why no rate above was tried."""
    return (
        "above which no schedule serves all that arrives" if rate == plan.most_rate else "the last rate tried"
    )


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
        middle = min(middle * math.exp(min(max(step, -furthest), furthest)), plan.most_rate)
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
        wanted = list(dict.fromkeys(min(rate, book.plan.most_rate) for rate in wanted))
        wanted = [rate for rate in wanted if rate not in {each.rate for each in book.shown}]
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


def _verdict(bound: Bound, looks: Looks, seen: Sequence[Seen]) -> RateVerdict:
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
