"""Learning to rank: the requests whose outputs are predicted to be the shortest run."""

from dataclasses import dataclass

from policies.scheduling._swapped import RankedWithSwap
from simulator.policy import Job


@dataclass
class Ltr(RankedWithSwap):
    """By the predicted length of the whole output, at each step anew, running requests as well as those who wait.

    The predictor of the paper tells which of two outputs is longer and no lengths; of predicted lengths only the
    order counts here. Source: Fu et al., "Efficient LLM Scheduling by Learning to Rank", arXiv 2408.15792, as the
    authors' code has it by default: without its guard against starvation.
    """

    def rank(self, job: Job) -> float:
        """Predicted output tokens, whatever has been generated."""
        return job.predicted_tokens
