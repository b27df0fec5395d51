"""Policies with a rank whose preempted requests go to host memory, and come back in order of rank."""

from collections.abc import Iterable
from heapq import merge
from typing import Any

from policies.scheduling._preemption import give_way
from policies.scheduling._ranked import Ranked
from simulator.policy import Job, JobState, Ledger


class RankedWithSwap(Ranked):
    """A request that gives way keeps its KV in host memory, where that has room; else it computes again.

    It also tells which requests are, or ended, here: what goes on elsewhere is not to be looked at.
    """

    _home: Any = None  # the replica that is planned for; None before the first plan

    def prepare(self, step: Ledger) -> None:
        """See which replica this is."""
        if self._home is None:
            self._home = next((job.replica for job in step.running), None)

    def is_here(self, job: Job) -> bool:
        """Whether a request is on this replica, or ended on it."""
        return job.replica is self._home

    def has_ended(self, job: Job) -> bool:
        """Whether a request ended on this replica."""
        return self.is_here(job) and job.state is JobState.ENDED

    def queue(self, step: Ledger) -> Iterable[Job]:
        """Return those whose KV is in host memory with those who wait, by rank."""
        return list(merge(sorted(step.swapped, key=self.rank), list(step.waiting), key=self.rank))

    def give_way(self, step: Ledger, job: Job, for_job: Job | None = None) -> None:
        """Move its KV to host memory."""
        give_way(step, job, "swap", for_job)
