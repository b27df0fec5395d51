"""Round robin: each replica in turn."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView


class RoundRobin:
    """The next replica in turn, whatever its load."""

    looks_at_load = False

    def __init__(self) -> None:
        """Begin with the first replica."""
        self._next = 0

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index after the last one; there may be fewer replicas than there were."""
        chosen = self._next % len(replicas)
        self._next = chosen + 1
        return chosen
