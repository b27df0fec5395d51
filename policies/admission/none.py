"""No admission control: every request is admitted."""

import random

from simulator.policy import Job, ReplicaView


class AdmitAll:
    """Take every request, whatever the load."""

    looks_at_load = False

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Take it."""
        return True
