"""A measured curve: the tokens that a step gives by the number of its drafts, for a drafter on some kind of text."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from policies.acceptance._curves import CURVES, MeasuredCurve
from policies.acceptance._shape import after_each_other, run_of, spread
from simulator.policy import AnswerDraws, TreeAcceptance

MOST_HALVINGS = 60


@dataclass
class Curve(TreeAcceptance):
    """Drafts are accepted so often that a step gives the measured tokens on the average, for each number of drafts.

    What is accepted at each place are the differences of the curve, made to fall, and scaled to its value at k.
    """

    keeps_runs: ClassVar[bool] = True
    text: str = "llama-3.1-8b-eagle-mtbench"  # of a curve in policies/acceptance/_curves.py
    spread: float = 0.0  # standard deviation of the chances over requests, a Beta distribution; 0: all alike
    _kinds: dict[int, list[list[float]]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a curve that there is not, and a spread that no distribution has."""
        if self.text not in CURVES:
            raise ValueError(f"text: no curve {self.text!r}; expected one of {', '.join(CURVES)}")
        for drafts in sorted(CURVES[self.text].tokens) if self.spread else (1,):
            self._of(drafts)  # refused now, where it is

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and how many are right before the first wrong one."""
        kinds = self._kinds.get(wanted) or self._of(wanted)
        return wanted, run_of(kinds[int(answer.own * len(kinds))], answer, generated, wanted)

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return those of the curve for so many drafts."""
        kinds = self._kinds.get(depth) or self._of(depth)
        return kinds[int(answer.own * len(kinds))]

    def _of(self, drafts: int) -> list[list[float]]:
        chances = after_each_other(shares(CURVES[self.text], drafts))
        kinds = self._kinds[drafts] = spread(chances, self.spread)
        return kinds


def shares(curve: MeasuredCurve, drafts: int) -> list[float]:
    """Return the share of steps in which each of so many drafts is accepted; they sum to the curve's value, less 1."""
    known = sorted(curve.tokens)
    first = known[0]
    rate = _geometric(curve.tokens[first] - 1, first)
    tokens = [1 + sum(rate**place for place in range(1, k + 1)) for k in range(first)]
    for before, k in itertools.pairwise(known):  # linear between the numbers of drafts that were measured
        for place in range(before, k):
            share = (place - before) / (k - before)
            tokens.append(curve.tokens[before] * (1 - share) + curve.tokens[k] * share)
    tokens.append(curve.tokens[known[-1]])
    found: list[float] = []
    for place in range(1, drafts + 1):
        step = tokens[place] - tokens[place - 1] if place < len(tokens) else 0.0
        found.append(min(found[-1] if found else 1.0, max(step, 0.0)))
    wanted = tokens[min(drafts, len(tokens) - 1)] - 1
    return _scaled(found, wanted)


def _scaled(shares_: list[float], wanted: float) -> list[float]:
    """Scale shares to a sum; none may exceed 1."""
    total = sum(shares_)
    return [min(1.0, share * wanted / total) for share in shares_] if total else shares_


def _geometric(accepted: float, drafts: int) -> float:
    """Return the rate a with a + a² + ... = ``accepted`` for so many drafts."""
    low, high = 0.0, 1.0
    for _ in range(MOST_HALVINGS):
        rate = 0.5 * (low + high)
        if sum(rate**place for place in range(1, drafts + 1)) < accepted:
            low = rate
        else:
            high = rate
    return rate
