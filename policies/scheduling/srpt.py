"""Shortest remaining processing time: the request predicted to be done first goes first."""

from dataclasses import dataclass

from policies.scheduling._ranked import Ranked
from simulator.policy import Job


@dataclass(frozen=True)
class Srpt(Ranked):
    """The fewest predicted tokens to go first; a running request gives way to a waiting one with fewer.

    One that outlives its prediction is expected to end with the next token, at every token anew.
    Source: Schrage, Operations Research 16(3), 1968; for LLMs Shahout et al., arXiv 2410.01035 (TRAIL).
    """

    prompt_weight: float = 0.0  # output tokens that computing a token of the prompt counts for
    margin_tokens: float = 0.0  # a running request gives way only to one shorter by more than this

    def rank(self, job: Job) -> float:
        """Predicted tokens to go, at least one, and the prompt's weight."""
        to_go = max(1, job.predicted_tokens - job.generated_tokens)
        return to_go + self.prompt_weight * (job.remaining_tokens - 1)

    def margin(self, job: Job) -> float:
        """As the parameter says."""
        return self.margin_tokens
