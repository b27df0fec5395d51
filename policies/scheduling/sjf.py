"""Shortest job first: of those who wait, the one with the shortest predicted output starts next."""

from policies.scheduling._ranked import Ranked
from simulator.policy import Job


class Sjf(Ranked):
    """A running request goes on, unless KV blocks run out. Source: Qiu et al., arXiv 2404.08509 (SSJF)."""

    preemptive = False

    def rank(self, job: Job) -> float:
        """Predicted output tokens."""
        return job.predicted_tokens
