"""vLLM's load balancer of data-parallel ranks: the fewest requests, those that wait counting four times."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView

COUNTED_EVERY_S = 0.1


class VllmDp:
    """The rank with the least 4·waiting + running, the first of equals, as counted up to 100 ms ago.

    After ``DPLBAsyncMPClient`` of vLLM: counts come from all ranks every 100 ms, and each request sent since then
    counts as one that waits.
    """

    def __init__(self) -> None:
        """Count with the first request."""
        self._due_s = 0.0
        self._counts: list[list[int]] = []  # waiting and running, of each rank
        self._of: Sequence[ReplicaView] = ()

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the rank with the fewest."""
        now_s = job.arrival_s
        if now_s >= self._due_s or replicas is not self._of:
            self._of, self._due_s = replicas, now_s + COUNTED_EVERY_S
            self._counts = [[each.waiting_requests, len(each.running)] for each in replicas]
        scores = [4 * waiting + running for waiting, running in self._counts]
        chosen = scores.index(min(scores))
        self._counts[chosen][0] += 1
        return chosen
