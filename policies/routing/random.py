"""Random: a replica drawn evenly, whatever its load."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView


class Random:
    """Every replica is as likely as any other: the baseline that needs to know nothing."""

    looks_at_load = False

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return any index."""
        return draw.randrange(len(replicas))
