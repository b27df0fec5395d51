"""A rate: each draft is right with the same chance, once those before it are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from policies.acceptance._shape import check_chance, run_of, spread
from simulator.policy import AnswerDraws, TreeAcceptance

PLACES = 8  # over which a spread keeps the mean


@dataclass
class Rate(TreeAcceptance):
    """With k drafts of chance a, a step gives (1 - a^(k+1)) / (1 - a) tokens (arXiv 2211.17192, equation 1).

    vLLM's rejection sampler can be told to do so (``synthetic_acceptance_rate``), and EAGLE's drafts nearly do.
    """

    keeps_runs: ClassVar[bool] = True
    rate: float = 0.7  # chance that a draft is right
    spread: float = 0.0  # standard deviation of the rate over requests, a Beta distribution; 0: all alike
    _kinds: list[list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no share, and a spread that no distribution has."""
        check_chance("rate", self.rate)
        self._kinds = spread([self.rate] * PLACES, self.spread)

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and how many are right before the first wrong one."""
        return wanted, run_of(self._kinds[int(answer.own * len(self._kinds))], answer, generated, wanted)

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return the rate of the request at each place."""
        return [self._kinds[int(answer.own * len(self._kinds))][0]] * depth
