"""Nothing is said of how many drafts are right: none is, unless the drafter has a curve of its own."""

from simulator.policy import Acceptance, AnswerDraws


class NoneRight(Acceptance):
    """Every draft is wrong; where speculation is on, the drafter's own curve stands for this."""

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and 0."""
        return wanted, 0
