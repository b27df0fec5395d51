"""Laws of KV tiers over random deployments: what is in them, what goes over their links, and what it changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import Deployment, Pool
from simulator.cluster.tiers import tier_rows
from simulator.replica.kv_tier import Tier, TierLink, TierPlan, TiersPlan
from simulator.replica.limits import Limits
from simulator.replica.tiered_cache import TieredCache
from simulator.workload.workload import Workload
from tests.engine_cases import RaggedCost, native
from tests.laws.test_cluster_laws import same

POLICIES = (
    VllmV1,
    lambda: VllmV1(async_scheduling=False),
    lambda: VllmV1(policy="priority"),
    Sglang,
    lambda: Sglang(disable_overlap_schedule=True, schedule_policy="lpm"),
)


@st.composite
def tiered(draw):
    """Conversations on one to three replicas whose KV is a few requests large, and one to three tiers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = int(rng.integers(2, 30))
    outputs = rng.integers(1, 25, n).tolist()
    segments = []
    for row in range(n):
        earlier = int(rng.integers(-2, row)) if row else -1
        if earlier >= 0:
            begin = [*segments[earlier], (-1 - earlier, outputs[earlier])]
        else:
            begin = [(-earlier, int(rng.integers(20, 60)))]
        segments.append([*begin, (-1 - row, int(rng.integers(1, 20)))])
    lengths = [sum(tokens for _, tokens in each) for each in segments]
    gaps = rng.choice([0.0, 0.01, 0.2, 1.0], n)
    traffic = Workload(
        "made", np.cumsum(gaps), np.array(lengths), np.array(outputs), max(outputs), "drawn",
        segments=segments, output_stream=-1 - np.arange(n),
    )  # fmt: skip
    size = draw(st.sampled_from([1, 4]))
    longest = max(a + b for a, b in zip(lengths, outputs, strict=True))
    policy = draw(st.sampled_from(POLICIES))
    blocks = -(-longest // size) + 8 // size + draw(st.sampled_from([1, 40, 200])) // size
    limits = Limits(draw(st.integers(1, 8)), draw(st.integers(16, 200)), longest + 2, blocks, size)
    kinds = draw(
        st.sampled_from(
            [["host"], ["disk"], ["host", "disk"], ["host", "shared"], ["host", "disk", "shared"]]
        )
    )
    rates, sizes = st.sampled_from([1e3, 1e6]), st.sampled_from([1, 9, 60, 500])
    tiers = [
        TierPlan(
            kind,
            draw(sizes),
            draw(rates),
            draw(rates),
            draw(st.sampled_from([0.0, 0.003])),
            draw(st.booleans()),
        )
        for kind in kinds
    ]
    plan = TiersPlan(
        tiers, size * draw(st.sampled_from([1, 3])), 2,
        draw(st.sampled_from(["write_through", "write_back", "on_eviction"])), draw(st.sampled_from(["lru", "oracle"])),
        draw(st.sampled_from(["always", "cheaper"])), draw(st.sampled_from(["before_step", "layerwise"])),
        draw(st.booleans()), draw(st.booleans()), 4,
    )  # fmt: skip
    pool = Pool(policy, RaggedCost(), limits, draw(st.integers(1, 3)), rules=native(policy))
    return traffic, Deployment([pool], RoundRobin(), tiers=plan)


def watched(patch, loads, moves):
    """Note what each load reads and each link carries, and hold every tier to its capacity all along."""
    load, carry, put = TieredCache._load, TierLink.carry, Tier.put

    def loading(self, what, start_s):
        assert len(set(what.names)) == len(what.names)
        assert what.tokens <= len(what.names) * self.plan.chunk_tokens
        end_s = load(self, what, start_s)
        loads.append((self, what, start_s, end_s))
        return end_s

    def carrying(self, size_bytes, at_s):
        free_s = self.free_s
        end_s = carry(self, size_bytes, at_s)
        begins_s = self.free_s - size_bytes / self.bytes_per_s
        assert begins_s >= max(at_s, free_s) - 1e-9
        moves.setdefault(id(self), []).append(size_bytes)
        return end_s

    def putting(self, name, ready_s, arriving=False):
        assert name not in self
        gone = put(self, name, ready_s, arriving)
        assert len(self) <= self.capacity_chunks
        return gone

    patch.setattr(TieredCache, "_load", loading)
    patch.setattr(TierLink, "carry", carrying)
    patch.setattr(Tier, "put", putting)


@given(tiered())
def test_tiers_balance(case):
    traffic, deployment = case
    plan, loads, moves = deployment.tiers, [], {}
    found = {}  # by tier and chunk: when it was first written
    with pytest.MonkeyPatch.context() as patch:
        watched(patch, loads, moves)
        noted = Tier.put

        def noting(self, name, ready_s, arriving=False):
            found[id(self), name] = min(ready_s, found.get((id(self), name), np.inf))
            return noted(self, name, ready_s, arriving)

        patch.setattr(Tier, "put", noting)
        cluster = engine.assemble(traffic, deployment)
        assert engine.play(cluster) == (False, None)
        tables, _ = engine.unfold(cluster)
    caches = [each.engine.tiers for each in cluster.replicas]
    # Every request gets every token, and the GPUs are empty in the end
    assert tables.requests["delivered_tokens"].tolist() == traffic.output_tokens.tolist()
    assert all(each.engine.free_blocks == each.total_blocks for each in cluster.replicas)
    # Nothing is read before it is written
    for cache, what, start_s, end_s in loads:
        tier, rate = cache.tiers[what.place].tier, cache.tiers[what.place].read.bytes_per_s
        written_s = max(found[id(tier), name] for name in what.names)
        assert end_s >= max(start_s, written_s) + what.tokens * plan.bytes_per_token / rate - 1e-9
    # What is in a tier is what came less what went
    rows = tier_rows(plan, caches)
    for place, row in enumerate(rows[1:]):
        tiers = {id(each.tiers[place].tier): each.tiers[place].tier for each in caches}.values()
        assert row["written_tokens"] - row["evicted_tokens"] == sum(map(len, tiers)) * plan.chunk_tokens
        assert row["most_tokens"] <= row["capacity_tokens"]
    # The bytes of each link are those of what was moved over it
    for cache in caches:
        for each in cache.tiers:
            for link in (each.read, each.write):
                assert link.sent_bytes == sum(moves.get(id(link), [0]))
    chunk_bytes = plan.chunk_tokens * plan.bytes_per_token
    loaded = [
        sum(what.tokens for _, what, _, _ in loads if what.place == nth) for nth in range(len(plan.tiers))
    ]
    for nth, row in enumerate(rows[1:]):
        assert row["hit_tokens"] + row["found_again_tokens"] == loaded[nth]
        through = sum(loaded[1:]) if not nth and row["kind"] == "host" else 0
        fetched_bytes = row["read_bytes"] - (loaded[nth] + through) * plan.bytes_per_token
        assert fetched_bytes % chunk_bytes == 0  # prefetched, by whole chunks
        if not nth or not plan.prefetch:
            assert fetched_bytes == 0
        if nth or len(plan.tiers) == 1:
            assert row["written_bytes"] == row["written_tokens"] * plan.bytes_per_token


@given(tiered())
def test_what_is_found_is_what_is_not_computed(case):
    traffic, deployment = case
    cluster = engine.assemble(traffic, deployment)
    assert engine.play(cluster) == (False, None)
    hits = engine.prefix_hits(cluster)
    rows = tier_rows(deployment.tiers, [each.engine.tiers for each in cluster.replicas])
    assert sum(row["hit_tokens"] for row in rows) == hits.hit_tokens
    assert sum(row["found_again_tokens"] for row in rows) == hits.found_again_tokens


@settings(max_examples=15)
@given(tiered())
def test_tiers_in_which_nothing_has_room_change_nothing(case):
    """A chunk longer than all requests: the GPU's cache hears all that it hears without tiers behind it.

    But not of a look ahead, which is a use of what SGLang's tree has.
    """
    traffic, deployment = case
    (pool,) = deployment.pools
    alone = deployment._replace(pools=[pool._replace(replicas=1)], tiers=None)
    tiers = deployment.tiers._replace(chunk_tokens=10_000, prefetch=False)
    found, without = (engine.simulate(traffic, each) for each in (alone._replace(tiers=tiers), alone))
    same(found.tables, without.tables)
    assert found.prefix_hits == without.prefix_hits
