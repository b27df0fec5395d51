"""Keeping prefixes from the first preemption on is as good as from the first step, where requests share nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster import simulate
from simulator.cluster.deployment import Deployment, HandOff, Link, Pool, colocated
from simulator.cluster.simulate import assemble, play, prefix_hits, unfold
from simulator.replica.kv import CountedBlocks
from simulator.replica.limits import Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.workload.workload import Workload
from tests.examples import examples
from tests.laws.test_fast_forward_with_prefixes import RULES, Cost


@st.composite
def strangers(draw):
    """Requests that have nothing in common; some clients give up."""
    n = draw(st.integers(2, 14))
    gaps = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    prompts = draw(st.lists(st.integers(1, 24), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, 24), min_size=n, max_size=n))
    arrival_s = np.cumsum(gaps) * 1.0
    leave_s = None
    if draw(st.booleans()):
        leave_s = arrival_s + np.array(
            draw(st.lists(st.sampled_from([1.5, 4.0, np.nan]), min_size=n, max_size=n))
        )
    priority = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return Workload(
        "made",
        arrival_s,
        np.array(prompts),
        np.array(outputs),
        24,
        "drawn",
        leave_s=leave_s,
        priority=priority,
    )


def served(traffic, policy, limits, version, replicas, apart=None):
    rules = RULES[version]
    deployment = colocated(policy, Cost(), limits, RoundRobin(), replicas=replicas, rules=rules)
    if apart is not None:
        pools = [Pool(policy, Cost(), limits, replicas, role, rules=rules) for role in ("prefill", "decode")]
        hand_off = HandOff(RoundRobin(), early=apart[0], layers=apart[1], first_token=apart[2])
        deployment = Deployment(pools, RoundRobin(), link=Link(2e6), hand_off=hand_off)
    cluster = assemble(traffic, deployment)
    ended = play(cluster)
    kinds = {type(each.engine.kv) for each in cluster.replicas}
    preempted = [each.engine.records.count("preemptions") > 0 for each in cluster.replicas]
    late = [each.engine.late_cache is not None for each in cluster.replicas]
    return unfold(cluster)[0], (ended, prefix_hits(cluster)), kinds, preempted, late


@settings(max_examples=examples(150), deadline=None)
@given(
    strangers(), st.booleans(), st.sampled_from(["0.11.0", "0.24.0"]), st.sampled_from(["fcfs", "priority"]),
    st.none() | st.tuples(st.booleans(), st.sampled_from([0, 2]), st.sampled_from(["decode", "prefill"])),
    st.integers(1, 5), st.integers(0, 4), st.sampled_from([6, 16]), st.sampled_from([0, 5]), st.integers(1, 2),
)  # fmt: skip
def test_it_changes_nothing_when_it_begins(
    traffic, asynchronous, version, order, apart, block_size, spare, budget, threshold, replicas
):
    longest = int((traffic.prompt_tokens + traffic.output_tokens).max())
    limits = Limits(4, budget, longest + 1, -(-longest // block_size) + 1 + spare, block_size)

    def policy():
        return VllmV1(
            engine_version=version,
            async_scheduling=asynchronous,
            policy=order,
            enable_prefix_caching=True,
            long_prefill_token_threshold=threshold,
        )

    one = served(traffic, policy, limits, version, replicas, apart)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "_stays", lambda deployment: False)
        two = served(traffic, policy, limits, version, replicas, apart)
    assert two[2] == {PrefixBlocks}
    if apart is None:
        assert one[4] == [not each for each in one[3]]  # it has begun exactly where one was preempted
    if not any(one[3]):
        assert one[2] == {CountedBlocks}
    assert one[1] == two[1]
    for table in ("steps", "tokens", "requests"):
        for name, column in getattr(one[0], table).items():
            assert column.tobytes() == getattr(two[0], table)[name].tobytes(), (table, name)


def test_one_that_is_preempted_finds_its_own_blocks():
    traffic = Workload("made", [0.0, 0.0], [8, 8], [12, 12], 12, "made")
    limits = Limits(4, 32, 64, 16, 2)

    def policy():
        return VllmV1(engine_version="0.11.0", enable_prefix_caching=True)

    tables, (_, hits), kinds, _, _ = served(traffic, policy, limits, "0.11.0", 1)
    assert tables.requests["preemptions"].tolist() == [0, 1]
    assert kinds != {CountedBlocks}
    assert (hits.hit_tokens, hits.looked_up_tokens) == (0, 16)
    assert 0 < hits.found_again_tokens < hits.looked_up_again_tokens
    assert tables.requests["found_again_tokens"].tolist() == [0, hits.found_again_tokens]
    assert tables.requests["cached_tokens"].tolist() == [0, 0]
