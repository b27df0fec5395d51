"""Earliest deadline first: whose reader needs the next token soonest goes first."""

from dataclasses import dataclass

from policies.scheduling._ranked import Ranked
from simulator.policy import Job


@dataclass(frozen=True)
class Edf(Ranked):
    """Requests by the deadline of their next token, d_i = S + V·i after the arrival.

    A running request that is ahead of its reader gives way to one that waits and is due earlier.
    Source: Liu & Layland, JACM 20(1), 1973, section 7; token deadlines: Wang et al., arXiv 2410.14257.
    """

    margin_s: float = 1.0  # a running request gives way only to one due so much earlier

    def rank(self, job: Job) -> float:
        """When the next token is due."""
        return job.due_s

    def margin(self, job: Job) -> float:
        """As the parameter says: every change of turn costs a recomputation."""
        return self.margin_s
