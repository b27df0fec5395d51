"""Prefix caching by runs of blocks does what it would do block by block: same hits, evictions and free blocks."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_engine
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster import building, simulate
from simulator.cluster.deployment import colocated
from simulator.replica.limits import Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.workload.workload import Workload
from tests.cluster_cases import deployments
from tests.engine_cases import EvenCost, RaggedCost
from tests.plain_prefix_blocks import PlainPrefixBlocks, kept

RULES = {"0.11.0": load_engine("vllm-0.11").engine_rules, "0.24.0": load_engine("vllm-0.24").engine_rules}
OPTIONS = (
    {},
    {"async_scheduling": False},
    {"policy": "priority"},
    {"policy": "priority", "async_scheduling": False},
    {"long_prefill_token_threshold": 7, "watermark": 0.1},
    {"engine_version": "0.11.0"},
    {"engine_version": "0.11.0", "async_scheduling": False, "policy": "priority"},
    {"engine_version": "0.11.0", "enable_chunked_prefill": False},
)
CACHING = [("vllm_v1", {"enable_prefix_caching": True, **options}) for options in OPTIONS]


@st.composite
def branching(draw):
    """Requests whose prompts leave those of others anywhere, or go on from their answers; blocks are few or many."""
    n, size = draw(st.integers(2, 30)), draw(st.sampled_from([1, 2, 4, 16]))
    prompts = []
    for row in range(n):
        segments = []
        if prompts and draw(st.booleans()):  # the next turn of a session, or one beside it
            before = draw(st.integers(max(0, row - 4), row - 1))
            segments = [*prompts[before], (1000 + before, draw(st.sampled_from([1, 3, 8, 16, 40])))]
        elif prompts and draw(st.integers(0, 4)):
            other = draw(st.sampled_from(prompts))
            segments = list(other[: draw(st.integers(1, len(other)))])
            if draw(st.booleans()):
                stream, tokens = segments[-1]
                segments[-1] = stream, draw(st.integers(1, tokens))
        for _ in range(draw(st.integers(0 if segments else 1, 3))):
            stream = draw(st.sampled_from([0, 1, 2, 100 + row]))
            segments.append((stream, draw(st.sampled_from([1, 3, 8, 16, 40]))))
        prompts.append(segments)
    lengths = [sum(tokens for _, tokens in segments) for segments in prompts]
    outputs = draw(st.lists(st.integers(1, 40), min_size=n, max_size=n))
    answers = draw(st.lists(st.sampled_from([0, 1, *[None] * 6]), min_size=n, max_size=n))
    even = draw(st.booleans())
    gaps = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.75]) if even else st.floats(0, 0.1)
    traffic = Workload(
        "made", np.cumsum(draw(st.lists(gaps, min_size=n, max_size=n))), lengths, outputs, max(outputs), "drawn",
        segments=prompts,
        output_stream=np.array([1000 + row if each is None else each for row, each in enumerate(answers)]),
        priority=np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))),
    )  # fmt: skip
    longest = max(a + b for a, b in zip(lengths, outputs, strict=True))
    least = -(-longest // size) + 2
    options = draw(st.sampled_from(OPTIONS))
    budget = draw(st.integers(1, 400))
    if not options.get("enable_chunked_prefill", True):
        budget = max(budget, longest + 1)
    blocks = draw(st.sampled_from([least, least + 3, 2 * least, 5 * least, 10_000]))
    limits = Limits(draw(st.integers(1, 12)), budget, longest + 1, blocks, size)
    return traffic, limits, options, EvenCost() if even else RaggedCost()


def served(kind, traffic, deployment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "PrefixBlocks", kind)
        cluster = simulate.assemble(traffic, copy.deepcopy(deployment))  # it has random numbers of its own
        ended = simulate.play(cluster)
    caches = [each.engine.cache for each in cluster.replicas]
    assert all(isinstance(cache, kind) for cache in caches if cache is not None)
    state = [(cache.free_blocks, *kept(cache)) for cache in caches if cache is not None]
    tables = simulate.unfold(cluster)[0]
    columns = {
        (table, name): column.tobytes()
        for table in ("requests", "tokens", "steps", "transfers")
        for name, column in getattr(tables, table).items()
    }
    return cluster, (ended, columns, simulate.prefix_hits(cluster), state)


def known_stretches_are_used(cache):
    """Each has blocks, or comes before one that has or is a running request's last."""
    uses = dict.fromkeys(cache._stretches._known.values(), 0)
    last = [held.stretches[-1] for held in cache._held.values() if held.stretches]
    for stretch in [*last, *(each.name[0] for each in uses)]:
        if stretch is not None:
            uses[stretch] += 1
    assert all(stretch.uses == count for stretch, count in uses.items())
    assert all(stretch.runs or count for stretch, count in uses.items())


@given(branching())
def test_runs_equal_single_blocks(case):
    traffic, limits, options, cost = case
    version = options.get("engine_version", "0.24.0")

    def policy():
        return VllmV1(enable_prefix_caching=True, **options)

    deployment = colocated(policy, cost, limits, RoundRobin(), rules=RULES[version])
    cluster, runs = served(PrefixBlocks, traffic, deployment)
    assert runs == served(PlainPrefixBlocks, traffic, deployment)[1]
    known_stretches_are_used(cluster.replicas[0].engine.cache)


@given(deployments(CACHING))
def test_runs_equal_single_blocks_in_any_cluster(case):
    cluster, runs = served(PrefixBlocks, *case)
    assert runs == served(PlainPrefixBlocks, *case)[1]
    for each in cluster.replicas:
        if each.engine.cache is not None:
            known_stretches_are_used(each.engine.cache)
