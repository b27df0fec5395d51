"""Nothing is said of how many drafts are right: none is, unless the drafter has a curve of its own."""

from collections.abc import Sequence

from simulator.policy import AnswerDraws, TreeAcceptance


class NoneRight(TreeAcceptance):
    """Every draft is wrong; where speculation is on, the drafter's own curve stands for this."""

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and 0."""
        return wanted, 0

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return 0 at each place."""
        return [0.0] * depth
