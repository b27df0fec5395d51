"""By position: the share of steps in which the first, the second, ... draft is accepted, as vLLM's log has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from policies.acceptance._shape import after_each_other, as_deep, run_of
from simulator.policy import AnswerDraws, TreeAcceptance


@dataclass
class ByPosition(TreeAcceptance):
    """``shares`` are vLLM's "per-position acceptance rate"; drafts beyond the last have its chance."""

    keeps_runs: ClassVar[bool] = True
    shares: list[float] = field(default_factory=lambda: [0.7, 0.5, 0.35])  # never rising
    _chances: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what are no shares, or rise: a draft is accepted only after those before it."""
        if not self.shares or not all(0 <= later <= share for share, later in pairwise([1.0, *self.shares])):
            raise ValueError(f"shares: expected shares from 0 to 1 that never rise, got {self.shares}")
        self._chances = after_each_other(self.shares)

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and how many are right before the first wrong one."""
        return wanted, run_of(self._chances, answer, generated, wanted)

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return those of the shares; the last goes on."""
        return as_deep(self._chances, depth)
