"""Shortest job first: of those who wait, the one with the shortest predicted output starts next."""

from collections.abc import Collection
from dataclasses import dataclass

from policies.scheduling._ranked import Ranked
from policies.scheduling._step_time import paying_batch
from simulator.policy import Job, Ledger


@dataclass
class Sjf(Ranked):
    """A running request goes on, unless KV blocks run out; none starts beside a batch that is large enough.

    Source: Qiu et al., arXiv 2404.08509 (SSJF).
    """

    preemptive = False

    batch_size: int = 0  # most requests that run; 0: as many as bring the mean completion soonest

    def rank(self, job: Job) -> float:
        """Predicted output tokens."""
        return job.predicted_tokens

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """None of those who run; who would be too many does not start."""
        running = sum(not job.completing for job in step.running)
        del starting[max(0, (self.batch_size or paying_batch(step)) - running) :]
        return ()
