"""The rate at which an objective is largest, of anything that can be simulated at a rate.

Two steps, as in ``search.py``: one seed finds about where the maximum is; fresh seeds then show, by
paired differences, that a rate below and one above are worse.

Assumed: the objective rises to one maximum and falls after it; paired differences are about normal.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.stats import Looks
from simulator.studies.capacity.book import (
    Answer,
    Ask,
    Book,
    RateVerdict,
    SearchPlan,
    Seen,
    Shown,
    Simulate,
    SpentError,
    alike,
)
from simulator.studies.capacity.search import MOST_DOUBLINGS, STEPS

MOST_MOVES = 4  # of the middle to a rate shown to be better
GOLDEN = (math.sqrt(5) - 1) / 2


def best_rate(simulate: Simulate, plan: SearchPlan) -> Answer:
    """Return the rate at which the objective's mean is largest; saturation counts for nothing by itself.

    If the objective has one maximum, a lower rate that is shown to be worse than some rate lies below the best
    one, and a higher rate above it: such are the ends. ``simulate`` is as for ``highest_rate``; all runs are as
    long as the first, since an objective may depend on it.
    """
    book = Book(simulate, replace(plan, most_requests=plan.requests))
    middle: float | None = None
    try:
        middle = _peak(book)
        if alike(book.see([middle], book.fresh(2))[0]):
            around = sorted(ask.rate for ask in book.runs)
            low = max((rate for rate in around if rate < middle), default=None)
            high = min((rate for rate in around if rate > middle), default=None)
            book.notes.append(
                "nothing is random here: the ends are worse for exactly this traffic, not for others"
            )
            return Answer(middle, low, high, None, (), book.runs, book.notes)
        for _ in range(MOST_MOVES):
            better = _sides(book, middle)
            if better is None:
                break
            middle = better
        return book.answer(_best(book, middle), *_sides_shown(book.shown))
    except SpentError:
        book.spent()
        return book.answer(middle, *_sides_shown(book.shown))


def _best(book: Book, middle: float) -> float:
    """Return the rate with the largest mean of those that none is shown to be better than; note it."""
    count = book.plan.looks[-1]
    rates = [middle, *(each.rate for each in book.shown if each.verdict == "undecided")]
    rates = [rate for rate in dict.fromkeys(rates) if rate == middle or len(_fresh(book, rate)) >= count]
    if len(rates) > 1:
        book.see(rates, book.fresh(count))
    low, high = _sides_shown(book.shown)
    inside = [rate for rate in rates if (low is None or low < rate) and (high is None or rate < high)]
    best = max(inside or [middle], key=lambda rate: np.mean([seen.value for seen in _fresh(book, rate)]))
    kept = [each for each in book.shown if each.rate != best]
    book.shown = [*kept, Shown(best, "best", _fresh(book, best), book.requests, book.plan.confidence)]
    return best


def _fresh(book: Book, rate: float) -> list[Seen]:
    """What fresh seeds showed of a rate so far."""
    asks = [Ask(rate, book.plan.seed + seed, book.requests) for seed in book.fresh(book.plan.looks[-1])]
    return [book.runs[ask] for ask in asks if ask in book.runs]


def _peak(book: Book) -> float:
    """Climb by doubling or halving, then close in by golden section on the logarithm of the rate, with one seed."""

    def worth(rate: float) -> float:
        value = book.first(rate).value
        return value if math.isfinite(value) else -math.inf

    rate = book.plan.start
    factor = 2.0 if worth(2 * rate) > worth(rate) else 0.5
    for _ in range(MOST_DOUBLINGS):
        if worth(rate * factor) <= worth(rate):
            break
        rate *= factor
    else:
        book.notes.append(f"still better at {rate:.4g}, the last rate tried")
        return rate
    low, high = math.log(rate / 2), math.log(rate * 2)
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    while high - low > 4 * math.log(1 + book.plan.within):
        if worth(math.exp(inner[0])) > worth(math.exp(inner[1])):
            high = inner[1]
            inner = [high - GOLDEN * (high - low), inner[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + GOLDEN * (high - low)]
    return max((ask.rate for ask in book.runs), key=worth)


def _sides(book: Book, middle: float) -> float | None:
    """Compare a rate with others around it, seed by seed; return one that is shown to be better, or None.

    Those shown to be worse are noted as below or above the best rate.
    """
    for step in STEPS:
        low, high = _sides_shown(book.shown)
        width = (1 + book.plan.within) ** step
        wanted = ([middle / width] if low is None or low >= middle else []) + (
            [middle * width] if high is None or high <= middle else []
        )
        for rate in wanted:
            looks = Looks(book.plan.looks, book.shared(len(book.shown)))
            side, count = None, looks.next_count(0)
            while side is None and count is not None:
                here, there = book.see([middle, rate], book.fresh(count))
                side = looks.side([a.value - b.value for a, b in zip(here, there, strict=True)], 0.0)
                count = looks.next_count(count)
            place: RateVerdict = "below" if rate < middle else "above"
            other: RateVerdict = "above" if rate < middle else "below"
            if side == "below":
                book.shown.append(Shown(middle, other, here, book.requests, looks.confidence))
                return rate
            verdict: RateVerdict = "undecided" if side is None else place
            book.shown.append(Shown(rate, verdict, there, book.requests, looks.confidence))
    return None


def _sides_shown(shown: Sequence[Shown]) -> tuple[float | None, float | None]:
    """Return the highest rate shown to be below the best, and the lowest shown to be above it."""
    low = max((each.rate for each in shown if each.verdict == "below"), default=None)
    high = min((each.rate for each in shown if each.verdict == "above"), default=None)
    return low, high
