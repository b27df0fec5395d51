"""Upper bounds of outputs, from how outputs have been beside their predictions: for the policy ``jitserve``."""

from bisect import bisect_right, insort
from collections import deque
from math import ceil

from simulator.policy import Job

REMEMBERED = 512  # outputs
ENOUGH = 20  # outputs, below which predictions are taken as they are


class OutputBounds:
    """A quantile of the output of a request, given its prediction and what it has got.

    Of the latest outputs, each in units of its prediction, those that were longer than what the request has already.
    It stands for a quantile regression forest on the prompt, which a simulator of lengths cannot have.
    """

    def __init__(self, quantile: float) -> None:
        """``quantile`` of outputs are to be no longer than the bound."""
        self.quantile = quantile
        self._ratios: list[float] = []  # sorted
        self._latest: deque[float] = deque()

    def ended(self, job: Job) -> None:
        """Learn from an output that is complete."""
        ratio = job.generated_tokens / job.predicted_tokens
        insort(self._ratios, ratio)
        self._latest.append(ratio)
        if len(self._latest) > REMEMBERED:
            del self._ratios[bisect_right(self._ratios, self._latest.popleft()) - 1]

    def tokens(self, job: Job) -> float:
        """Return the bound of a request's whole output, more than it has and no more than its client allows."""
        generated, predicted = job.generated_tokens, job.predicted_tokens
        bound = float(predicted)
        if len(self._ratios) >= ENOUGH:
            first = bisect_right(self._ratios, generated / predicted)
            longer = len(self._ratios) - first
            if longer:
                bound = predicted * self._ratios[first + ceil(self.quantile * longer) - 1]
        return max(generated + 1.0, min(bound, float(job.max_tokens)))
