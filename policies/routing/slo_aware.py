"""SLO-aware: the replica that promises the first token soonest."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView


class SloAware:
    """The smallest predicted time to first token, the less loaded of equals.

    The prediction counts queued prompts, the request's own, what of it is cached, and how much the
    decodes beside it slow a step. Source: the selection of a prefill instance in Qin et al.,
    "Mooncake", arXiv 2407.00079, algorithm 1.
    """

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the replica with the smallest prediction."""
        keys = [(each.predicted_ttft_s(job), each.outstanding_tokens) for each in replicas]
        return keys.index(min(keys))
