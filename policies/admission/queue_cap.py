"""Queue cap: refuse a request when too many wait already."""

import random
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView


@dataclass(frozen=True)
class QueueCap:
    """Take a request only while fewer than ``max_waiting`` are queued at the replica it would go to.

    What it bounds is the number of those ahead, not their lengths. The classic finite queue (M/G/1/K);
    servers do it by answering 429 or 503.
    """

    max_waiting: int = 64  # longest queue of a replica, in requests

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Whether there is room in the queue."""
        return replica.waiting_requests < self.max_waiting
