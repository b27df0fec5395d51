"""Llumnix's dispatch: the replica that has KV memory for the longest time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from policies._freeness import freeness
from simulator.policy import Job, ReplicaView


@dataclass(frozen=True)
class LlumnixDispatch:
    """The highest freeness: KV blocks free, less what all who wait will take, for each request; the first of equals.

    Source: Sun et al., OSDI 2024, arXiv 2406.03243, section 4.4.
    """

    headroom_blocks: int = 0  # that a replica with urgent requests keeps free of others
    urgent: int = 0  # priority number up to which requests are urgent

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the freest replica; an urgent request may use the headroom."""
        headroom = 0 if job.priority <= self.urgent else self.headroom_blocks
        free = [
            freeness(each, whole_queue=True, headroom_blocks=headroom, urgent=self.urgent)
            for each in replicas
        ]
        return free.index(max(free))
