"""Next on decline: replicas in turn, on to the next one where a request's bounds are not promised."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.policy import Job, ReplicaView


@dataclass
class NextOnDecline:
    """The first replica that promises a request its TTFT and TPOT, from the next in turn on.

    Where none of ``hops`` does, the last one asked serves it as it can. Where the scheduling policy promises nothing,
    as all but ``slos_serve``, this is round robin.
    Source: Chen et al., "SLOs-Serve", arXiv 2504.08784, routing of declined requests.
    """

    hops: int = 4  # replicas that are asked, at most
    _next: int = field(default=0, init=False)

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the first replica that promises its bounds, else of the last one asked."""
        first = self._next % len(replicas)
        self._next = first + 1
        chosen = first
        for hop in range(min(self.hops, len(replicas))):
            chosen = (first + hop) % len(replicas)
            if replicas[chosen].promises(job):
                break
        return chosen
