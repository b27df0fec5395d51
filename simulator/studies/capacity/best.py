"""The rate at which an objective is largest, of anything that can be simulated at a rate.

Two steps, as in ``search.py``: one seed finds about where the maximum is; fresh seeds then show, by
paired differences, that a rate below and one above are worse.

A rate at which the system is saturated is worth nothing: what it seems to give is of the time that was simulated.

Assumed: the objective rises to one maximum and falls after it, or up to saturation; paired differences are about
normal.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from simulator.stats import Looks
from simulator.studies.capacity.book import (
    Answer,
    Book,
    RateVerdict,
    SearchPlan,
    Seen,
    Shown,
    Simulate,
    SpentError,
    alike,
)
from simulator.studies.capacity.search import MOST_DOUBLINGS, MOST_HALVINGS, STEPS, last_rate

MOST_MOVES = 8  # of the middle to a rate shown to be better, or below one shown to be saturated
OVERLOADED_FROM = 0.01  # share of the arrivals that is added to the backlogs of several runs together
OVERLOADED_CONFIDENCE = 0.99
FEWEST_FOR_A_MEAN = 4
GOLDEN = (math.sqrt(5) - 1) / 2


def best_rate(simulate: Simulate, plan: SearchPlan) -> Answer:
    """Return the rate at which the objective's mean is largest, of those at which the system keeps up.

    If the objective has one maximum, a lower rate that is shown to be worse than some rate lies below the best
    one, and a higher rate that is worse, or at which the system is saturated, above it: such are the ends.
    ``simulate`` is as for ``highest_rate``. Rates that are compared with each other are simulated for one time, in
    which there are more requests at a higher rate: an objective may depend on it. That time is longer where a run
    shows that it is too short to tell what is saturated.
    """
    book = Book(simulate, plan)
    middle: float | None = None
    try:
        middle = _peak(book)
        if middle is None:
            return book.answer(None, None, min(ask.rate for ask in book.runs))
        if alike(book.see([middle], book.fresh(2))[0]):
            around = sorted(ask.rate for ask in book.runs)
            low = max((rate for rate in around if rate < middle), default=None)
            high = min((rate for rate in around if rate > middle), default=None)
            book.notes.append(
                "nothing is random here: the ends are worse for exactly this traffic, not for others"
            )
            if middle == plan.most_rate:
                _note_the_last(book, middle)
            return Answer(middle, low, high, None, (), book.runs, book.notes)
        for _ in range(MOST_MOVES):
            better = _sides(book, middle)
            if better is None:
                break
            middle = better
        best = _best(book, middle)
        if best == plan.most_rate:
            _note_the_last(book, best)
        return book.answer(best, *_sides_shown(book.shown))
    except SpentError:
        book.spent()
        return book.answer(_kept_up(book, middle), *_sides_shown(book.shown))


def _note_the_last(book: Book, rate: float) -> None:
    book.notes.append(f"still better at {rate:.4g}, {last_rate(book.plan, rate)}")


def _best(book: Book, middle: float) -> float | None:
    """Return the rate with the largest mean of those that none is shown to be better than; note it."""
    count = book.plan.looks[-1]
    rates = [middle, *(each.rate for each in book.shown if each.verdict == "undecided")]
    rates = [rate for rate in dict.fromkeys(rates) if rate == middle or len(_fresh(book, rate)) >= count]
    book.see(rates, book.fresh(count))
    low, high = _sides_shown(book.shown)
    rates = [rate for rate in rates if not _overloaded(_fresh(book, rate))]
    inside = [rate for rate in rates if (low is None or low < rate) and (high is None or rate < high)]
    if not (inside or rates):
        return _kept_up(book, middle)
    best = max(inside or rates, key=lambda rate: _mean(_fresh(book, rate)))
    kept = [each for each in book.shown if each.rate != best]
    shown = Shown(best, "best", _fresh(book, best), book.length(best), book.plan.confidence)
    book.shown = [*kept, shown]
    return best


def _kept_up(book: Book, most: float | None) -> float | None:
    """Return the highest rate up to ``most`` at which no run of any was saturated; None if there is none."""
    found = sorted({ask.rate for ask in book.runs if most is not None and ask.rate <= most}, reverse=True)
    return next((rate for rate in found if all(map(_keeps_up, _all_at(book, rate)))), None)


def _all_at(book: Book, rate: float) -> list[Seen]:
    return [seen for ask, seen in book.runs.items() if ask.rate == rate]


def _keeps_up(seen: Seen) -> bool:
    return seen.saturated is None


def _mean(seen: Sequence[Seen]) -> float:
    mean = float(np.mean([each.value for each in seen]))
    return mean if math.isfinite(mean) else -math.inf


def _fresh(book: Book, rate: float) -> list[Seen]:
    """What fresh seeds showed of a rate so far."""
    asks = [book.ask(rate, seed) for seed in book.fresh(book.plan.looks[-1])]
    return [book.runs[ask] for ask in asks if ask in book.runs]


def _overloaded(seen: Sequence[Seen]) -> bool:
    """Whether the system does not keep up: half of the runs, and two at least, say so, or their backlogs together."""
    count = sum(not _keeps_up(each) for each in seen)
    if count >= max(2, len(seen) / 2):
        return True
    growth = [each.growth for each in seen]
    if len(growth) < FEWEST_FOR_A_MEAN or not np.isfinite(growth).all():
        return False
    return Looks((len(growth),), OVERLOADED_CONFIDENCE).side(growth, OVERLOADED_FROM) == "above"


def _peak(book: Book) -> float | None:
    """Climb by doubling or halving, then close in by golden section on the logarithm of the rate, with one seed.

    None where the system does not keep up even with the lowest rate tried.
    """

    def worth(*rates: float) -> list[float]:
        """What rates are worth over one time."""
        seen = [row[0] for row in book.see(rates, [0])]
        return [each.value if _keeps_up(each) and math.isfinite(each.value) else -math.inf for each in seen]

    def better(one: float, other: float) -> bool:
        first, second = worth(one, other)
        return first > second

    plan = book.plan
    rate = min(plan.start, plan.most_rate)
    book.compare_around(rate)
    for _ in range(MOST_HALVINGS):
        if _keeps_up(book.first(rate)):
            break
        rate /= 2
        book.compare_around(rate)
    else:
        book.notes.append(f"the system does not keep up even with {rate:.4g}, the last rate tried")
        return None
    up = better(min(2 * rate, plan.most_rate), rate)
    for _ in range(MOST_DOUBLINGS):
        further = min(2 * rate, plan.most_rate) if up else rate / 2
        if further == rate or not better(further, rate):
            break
        rate = further
        book.compare_around(rate)
    if up and rate != plan.most_rate and better(min(2 * rate, plan.most_rate), rate):
        _note_the_last(book, rate)
        return rate
    low, high = math.log(rate / 2), math.log(min(2 * rate, plan.most_rate))
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    looked = [rate]
    while high - low > 4 * math.log(1 + plan.within):
        looked += map(math.exp, inner)
        if better(math.exp(inner[1]), math.exp(inner[0])):
            low = inner[0]
            inner = [inner[1], low + GOLDEN * (high - low)]
        else:  # also where neither is worth anything: the system keeps up below
            high = inner[1]
            inner = [high - GOLDEN * (high - low), inner[0]]
    return looked[int(np.argmax(worth(*looked)))]


def _sides(book: Book, middle: float) -> float | None:
    """Compare a rate with others around it, seed by seed; return one that is shown to be better, or None.

    Of a rate that is shown to be saturated a lower one is returned.

    Those shown to be worse are noted as below or above the best rate.
    """
    for step in STEPS:
        low, high = _sides_shown(book.shown)
        width = (1 + book.plan.within) ** step
        wanted = ([middle / width] if low is None or low >= middle else []) + (
            [middle * width] if high is None or high <= middle else []
        )
        for rate in (each for each in wanted if each <= book.plan.most_rate):
            looks = Looks(book.plan.looks, book.shared(len(book.shown)))
            side, count = None, looks.next_count(0)
            while side is None and count is not None:
                here, there = book.see([middle, rate], book.fresh(count))
                if _overloaded(here):
                    book.shown.append(Shown(middle, "above", here, book.length(middle), looks.confidence))
                    return middle / (1 + book.plan.within)
                side = "above" if _overloaded(there) else _better(looks, here, there)
                count = looks.next_count(count)
            place: RateVerdict = "below" if rate < middle else "above"
            other: RateVerdict = "above" if rate < middle else "below"
            if side == "below":
                book.shown.append(Shown(middle, other, here, book.length(middle), looks.confidence))
                return rate
            verdict: RateVerdict = "undecided" if side is None else place
            book.shown.append(Shown(rate, verdict, there, book.length(rate), looks.confidence))
    return None


def _better(looks: Looks, here: Sequence[Seen], there: Sequence[Seen]) -> Literal["above", "below"] | None:
    """Return whether a rate ``here`` is shown to be above another one ``there`` in worth, or below; or None."""
    differences = [a.value - b.value for a, b in zip(here, there, strict=True)]
    return looks.side(differences, 0.0) if np.isfinite(differences).all() else None


def _sides_shown(shown: Sequence[Shown]) -> tuple[float | None, float | None]:
    """Return the highest rate shown to be below the best, and the lowest shown to be above it."""
    low = max((each.rate for each in shown if each.verdict == "below"), default=None)
    high = min((each.rate for each in shown if each.verdict == "above"), default=None)
    return low, high
