"""Power of two choices: two replicas at random, the less loaded of them."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView


class PowerOfTwo:
    """Sample two different replicas and take the one with fewer outstanding tokens.

    Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    """

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the less loaded of two replicas drawn at random."""
        if len(replicas) == 1:
            return 0
        one, other = draw.sample(range(len(replicas)), 2)
        return min(one, other, key=lambda index: (replicas[index].outstanding_tokens, index))
