"""Least loaded: the replica with the fewest outstanding tokens."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView, least_loaded


class LeastLoaded:
    """The replica with the fewest outstanding tokens, the first of them on a tie."""

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the least loaded replica."""
        return least_loaded(replicas)
