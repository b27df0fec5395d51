"""Match or no match: an n-gram drafter finds the text again, and then nearly all is right, or it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.acceptance._shape import as_deep, check_chance, run_of
from simulator.policy import AnswerDraws, TreeAcceptance


@dataclass(frozen=True)
class Match(TreeAcceptance):
    """Whether the last tokens stand earlier in the text is drawn at each step; where they do not, there are no drafts.

    Where they do, the first draft is right with a chance of its own, and each one after it with another.
    """

    found: float = 0.4  # share of steps in which there are drafts
    first: float = 0.3  # chance of the first draft
    rate: float = 0.8  # chance of each one after it

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("found", "first", "rate"):
            check_chance(name, getattr(self, name))

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted or none, and how many are right before the first wrong one."""
        if not self._finds(answer, generated):
            return 0, 0
        return wanted, run_of((self.first, self.rate), answer, generated, wanted)

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return the chances of the drafts where there are any."""
        return as_deep((self.first, self.rate), depth) if self._finds(answer, generated) else ()

    def _finds(self, answer: AnswerDraws, generated: int) -> bool:
        # The token before those that are guessed has a number that nothing else looks at
        return (answer.draws[generated - 1] if generated else answer.own) < self.found
