"""The KV tiers of a cluster: each replica's own, a store that they share, and what was found and moved in all."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simulator.replica.content import Content
from simulator.replica.cost import StepShape
from simulator.replica.job import Job
from simulator.replica.kv import PrefixCache
from simulator.replica.kv_tier import Attached, ChunkNames, FutureUses, Tier, TierLink, TiersPlan
from simulator.replica.tiered_cache import TieredCache
from simulator.workload.workload import Workload


def content_of(workload: Workload, row: int) -> Content:
    """Return what a request consists of; without segments it has nothing in common with another."""
    if workload.segments is None or workload.output_stream is None:
        return Content((), -1 - row)
    return Content(workload.segments[row], int(workload.output_stream[row]))


class Tiers:
    """Puts tiers behind the prefix cache of each replica's engine."""

    def __init__(self, workload: Workload, plan: TiersPlan) -> None:
        self.plan = plan
        self._workload = workload
        self._names = ChunkNames(plan.chunk_tokens)
        self._common: dict[int, Attached] = {}
        self._future: FutureUses | None = None
        if plan.replacement == "oracle":
            order = np.argsort(workload.arrival_s, kind="stable").tolist()
            self._future = FutureUses((row, self._prompt(row)) for row in order)

    def behind(
        self, cache: PrefixCache, content: Callable[[Job], Content], price: Callable[[StepShape], float]
    ) -> TieredCache:
        """Return a cache with one more replica's tiers behind it."""
        tiers = self._attach()
        found = TieredCache(cache, self.plan, tiers, self._names, content, price, self._future)
        if self.plan.write == "on_eviction":
            cache.tell_evicted(found.evicted)
        return found

    def _prompt(self, row: int) -> Sequence[tuple[int, int]]:
        return self._names.of(content_of(self._workload, row), int(self._workload.prompt_tokens[row]))

    def _attach(self) -> list[Attached]:
        found = []
        for place, each in enumerate(self.plan.tiers):
            own = Attached(
                Tier(each.kind, each.capacity_chunks, self._future),
                TierLink(each.read_bytes_per_s, each.latency_s),
                TierLink(each.write_bytes_per_s, each.latency_s),
            )
            if each.kind == "shared":
                first = self._common.setdefault(place, own)
                own = first if each.common_link else own._replace(tier=first.tier)
            found.append(own)
        return found


def tier_rows(plan: TiersPlan, caches: Sequence[TieredCache]) -> list[dict[str, Any]]:
    """Return what was found in the GPUs (first) and in each tier, over all replicas, and what went in and out.

    Tokens found by requests that had been preempted are apart, as in ``PrefixHits``.
    """
    rows = []
    for place, kind in enumerate(("gpu", *(each.kind for each in plan.tiers)), -1):
        row: dict[str, Any] = {
            "kind": kind,
            "hit_tokens": sum(each.hit_tokens[place, False] for each in caches),
            "found_again_tokens": sum(each.hit_tokens[place, True] for each in caches),
        }
        if place >= 0:
            attached = [each.tiers[place] for each in caches]
            tiers = list({id(each.tier): each.tier for each in attached}.values())
            reads = {id(each.read): each.read for each in attached}.values()
            writes = {id(each.write): each.write for each in attached}.values()
            row |= {
                "capacity_tokens": sum(each.capacity_chunks for each in tiers) * plan.chunk_tokens,
                "most_tokens": sum(each.most_chunks for each in tiers) * plan.chunk_tokens,
                "written_tokens": sum(each.written_chunks for each in tiers) * plan.chunk_tokens,
                "evicted_tokens": sum(each.evicted_chunks for each in tiers) * plan.chunk_tokens,
                "read_bytes": sum(each.sent_bytes for each in reads),
                "written_bytes": sum(each.sent_bytes for each in writes),
            }
        rows.append(row)
    return rows
