"""Prefix affinity: where most of the prompt was sent before, unless the load is uneven."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from policies.routing._prefix_index import PrefixIndex
from simulator.policy import Job, ReplicaView, least_loaded


@dataclass
class PrefixAffinity:
    """The replica that was sent most of the prompt, if that is more than ``match_share`` of it.

    Else the one that was sent least; and the one with the fewest requests where the most and the fewest differ by
    both thresholds. What was sent is kept in a tree of the router's own, which is not told what the replicas'
    caches have dropped, or how requests went on. Source: SGLang's router, sgl-router/src/policies/cache_aware.rs;
    Zheng et al., arXiv 2312.07104.
    """

    reads_prompts: ClassVar[bool] = True

    match_share: float = 0.3  # of the prompt, above which the match decides
    imbalance_requests: int = 64  # uneven: more than so many requests between the most and the fewest,
    imbalance_ratio: float = 1.5  # and more than so many times the fewest
    index: Literal["approximate", "oracle"] = (
        "approximate"  # oracle: what the replicas' caches hold at that moment
    )
    tree_tokens: int = 16777216  # that are kept of each replica
    forget_interval_s: float = 120.0  # between two looks at whether they are more
    _tree: PrefixIndex = field(init=False)
    _next_look_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Begin without any prompt."""
        self._tree = PrefixIndex(self.tree_tokens)

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the replica, and note what it is sent."""
        requests = [each.outstanding_requests for each in replicas]
        fewest, most = min(requests), max(requests)
        if most - fewest > self.imbalance_requests and most > self.imbalance_ratio * fewest:
            chosen = requests.index(fewest)
        elif self.index == "oracle":
            return self._by_cache(job, replicas)
        else:
            chosen = self._by_tree(job, replicas)
        if self.index == "approximate":
            self._note(job, replicas[chosen])
        return chosen

    def _by_tree(self, job: Job, replicas: Sequence[ReplicaView]) -> int:
        matches = self._tree.matches(job.prompt_segments)
        found = [matches.get(each, 0) for each in replicas]
        best = max(found)
        if best > self.match_share * job.prompt_tokens:
            return found.index(best)
        sent = [self._tree.tokens.get(each, 0) for each in replicas]
        return sent.index(min(sent))

    def _by_cache(self, job: Job, replicas: Sequence[ReplicaView]) -> int:
        found = [each.cached_tokens(job) for each in replicas]
        best = max(found)
        if best > self.match_share * job.prompt_tokens:
            return min(
                (index for index, tokens in enumerate(found) if tokens == best),
                key=lambda index: replicas[index].outstanding_tokens,
            )
        return least_loaded(replicas)

    def _note(self, job: Job, replica: ReplicaView) -> None:
        now_s = job.arrival_s
        self._tree.insert(job.prompt_segments or ((-1 - job.id, job.prompt_tokens),), replica, now_s)
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + self.forget_interval_s
            self._tree.forget()
