"""Prefix affinity: where most of the prompt is cached already, unless that replica is overloaded."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.policy import Job, ReplicaView


@dataclass(frozen=True)
class PrefixAffinity:
    """The replica whose prefix cache holds most of the prompt, the less loaded of equals.

    The least loaded one instead where less than ``match_share`` of the prompt is cached, or where the
    load exceeds the lowest by both thresholds. Sources: SGLang's cache-aware router; Srivatsa et al.,
    "Preble", arXiv 2407.00023.
    """

    match_share: float = 0.3  # least share of the prompt that has to be cached to follow the cache
    imbalance_tokens: int = 16384  # overloaded: more than so many tokens beyond the least loaded,
    imbalance_ratio: float = 1.5  # and more than so many times the tokens of the least loaded

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the replica with the longest match, or of the least loaded."""
        loads = [replica.outstanding_tokens for replica in replicas]
        matches = [replica.cached_tokens(job) for replica in replicas]
        least = min(loads)
        best = max(range(len(replicas)), key=lambda index: (matches[index], -loads[index], -index))
        too_little = matches[best] < self.match_share * job.prompt_tokens
        beyond = loads[best] - least > self.imbalance_tokens and loads[best] > self.imbalance_ratio * least
        return loads.index(least) if too_little or beyond else best
