"""Data-parallel ranks: no rank ends a pass before another, each keeps its KV in balance, and one rank is a replica."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.least_loaded import LeastLoaded
from policies.routing.round_robin import RoundRobin
from policies.scheduling.sarathi import Sarathi
from policies.scheduling.vllm_v0 import VllmV0
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster import building as clusters
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import Deployment, Pool
from simulator.replica.limits import Limits
from simulator.replica.lockstep import Lockstep, Rank
from simulator.replica.records import STEP_COLUMNS
from simulator.testing import new_job
from tests.engine_cases import EvenCost, RaggedCost, native, workload
from tests.laws import test_bit_equal as bit_equal
from tests.laws.test_large_fleets import LookingAtAll

POLICIES = [VllmV1, VllmV0, Sarathi, lambda: VllmV1(async_scheduling=False)]
times = st.floats(0, 5, allow_nan=False).map(lambda s: round(s, 2))
requests = st.lists(st.tuples(times, st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=25)


class EachStep(VllmV1):
    """Has each step planned, and none while another runs."""

    def __init__(self):
        super().__init__(async_scheduling=False)

    def fast_forward_spare_blocks(self):
        return None


class Ranks(RaggedCost):
    """A pass is the slowest rank's step, and something for the tokens of all of them."""

    def pass_s(self, shapes):
        tokens = sum(shape.prefill_tokens + shape.decode_seqs for shape in shapes)
        return max(self.step_s(shape) for shape in shapes) + 1e-5 * tokens


def traffic(rows, **more):
    rows = sorted(rows)
    arrivals, prompts, outputs = (np.array(column) for column in zip(*rows, strict=True))
    made = workload(arrivals.astype(float), prompts.astype(np.int64), outputs.astype(np.int64))
    return dataclasses.replace(made, **more) if more else made


def deployed(policy, cost, *, ranks, groups=1, blocks=40, seqs=6, router=None, stop_tokens=False):
    limits = Limits(seqs, 64, 200, blocks, 4, stop_tokens=stop_tokens)
    pool = Pool(policy, cost, limits, ranks * groups, rules=native(policy), lockstep=ranks)
    return Deployment([pool], router or LeastLoaded())


@settings(max_examples=60, deadline=None)
@given(
    requests,
    st.integers(2, 4),
    st.integers(1, 2),
    st.sampled_from(POLICIES),
    st.sampled_from([Ranks(), EvenCost()]),
    st.sampled_from([LeastLoaded, RoundRobin]),
    st.sampled_from([None, 3]),
)
def test_ranks_begin_and_end_passes_together(rows, ranks, groups, policy, cost, router, concurrency):
    load = traffic(rows, **({"concurrency": concurrency} if concurrency else {}))
    deployment = deployed(policy, cost, ranks=ranks, groups=groups, router=router())
    cluster = engine.assemble(load, deployment)
    assert engine.play(cluster) == (False, None)
    tables, _ = engine.unfold(cluster)
    steps = tables.steps
    for group in range(groups):
        mine = (steps["replica"] // ranks) == group
        spans = np.unique(np.stack([steps["start_s"][mine], steps["end_s"][mine]]), axis=1)
        assert (spans[1, :-1] <= spans[0, 1:]).all()  # two passes of a group never overlap
    for rank in cluster.replicas:
        assert rank.free_blocks == rank.total_blocks  # all KV blocks have come back
        assert not rank.outstanding_requests
        assert not rank.outstanding_tokens
    per_rank = [steps["kv_blocks_used"][steps["replica"] == rank.index] for rank in cluster.replicas]
    for rank, used in zip(cluster.replicas, per_rank, strict=True):
        assert (used <= rank.total_blocks).all()
    requests_table = tables.requests
    assert (requests_table["delivered_tokens"] == load.output_tokens).all()
    assert set(requests_table["replica"]) <= set(range(ranks * groups))


@settings(max_examples=40, deadline=None)
@given(requests, st.sampled_from(POLICIES), st.sampled_from([None, 3]), st.booleans())
def test_a_group_of_one_rank_is_a_replica(rows, policy, concurrency, stop_tokens):
    load = traffic(rows, **({"concurrency": concurrency} if concurrency else {}))
    found = []
    for make in (
        clusters.maker,
        lambda cost, size: lambda *parts, **more: Rank(*parts, **more).enter(Lockstep(cost)),
    ):
        kept, clusters.maker = clusters.maker, make
        try:
            found.append(
                engine.simulate(load, deployed(policy, RaggedCost(), ranks=1, stop_tokens=stop_tokens))
            )
        finally:
            clusters.maker = kept
    one, other = (outcome.tables for outcome in found)
    for name in one.requests:
        np.testing.assert_array_equal(one.requests[name], other.requests[name])
    for name in one.steps:
        np.testing.assert_array_equal(one.steps[name], other.steps[name])


def plain_group(servers, jobs, depth):
    """Serve ``jobs`` in turn by ranks whose passes last as long as the longest of their steps."""
    now = last_end = 0.0
    following, queue = 0, []
    while True:
        while following < len(jobs) and jobs[following].arrival <= now:
            servers[following % len(servers)].waiting.append(jobs[following])
            following += 1
        asked = [each for each in servers if each.waiting or each.running]
        plans = [(each, plan) for each in asked if (plan := each.plan(now, last_end)) is not None]
        if plans:
            last_end = max(end for _, (end, _, _) in plans)
            for each, _ in plans:
                each.steps[-1] = (each.steps[-1][0], last_end, *each.steps[-1][2:])
            queue.append((last_end, plans))
            if len(queue) < depth:
                continue
        if not queue:
            if following == len(jobs):
                return
            now = jobs[following].arrival
            continue
        end, plans = queue.pop(0)
        now = max(now, end)
        for each, (_, step, sampling) in plans:
            each.update(end, step, sampling)


@settings(max_examples=40, deadline=None)
@given(bit_equal.scenarios(), st.integers(2, 3))
def test_ranks_do_what_plain_servers_do_whose_steps_last_as_long_as_the_longest(case, ranks):
    case["horizon"] = None
    servers, jobs = zip(*(bit_equal.made(case) for _ in range(ranks)), strict=True)
    plain_group(servers, jobs[0], 2 if case["options"].get("async_scheduling") else 1)

    def policy():
        return bit_equal.POLICIES[case["policy"]](**case["options"])

    pool = Pool(policy, case["cost"], case["limits"], ranks, rules=native(policy), lockstep=ranks)
    tables = engine.simulate(bit_equal.traffic(case), Deployment([pool], RoundRobin())).tables
    for rank, server in enumerate(servers):
        mine = tables.steps["replica"] == rank
        for index, name in enumerate(STEP_COLUMNS[:-1]):
            assert tables.steps[name][mine].tolist() == [step[index] for step in server.steps], (rank, name)
    assert tables.tokens["generated_s"].tolist() == [t for job in jobs[0] for t in job.token_times]
    assert tables.requests["preemptions"].tolist() == [job.preemptions for job in jobs[0]]


def test_an_idle_rank_waits_for_the_pass_of_another():
    load = traffic([(0.0, 4, 10), (0.1, 4, 1)])
    policy = POLICIES[-1]
    outcome = engine.simulate(load, deployed(policy, EvenCost(1.0), ranks=2, router=RoundRobin()))
    assert outcome.tables.requests["replica"].tolist() == [0, 1]
    assert outcome.tables.requests["first_token_s"].tolist() == [1.0, 2.0]  # it had to wait until 1.0


@settings(max_examples=4, deadline=None)
@given(
    st.integers(0, 2**20),
    st.sampled_from(POLICIES),
    st.sampled_from([EvenCost(), Ranks()]),
    st.sampled_from([0.0, 0.02]),
)
def test_the_least_loaded_of_many_ranks_is_the_least_loaded_of_all(seed, policy, cost, gap_s):
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(
        rng.exponential(gap_s, 150) if gap_s else np.repeat(rng.exponential(1.0, 6), 25) / 50
    )
    rows = zip(arrivals, rng.integers(1, 60, 150), rng.integers(1, 40, 150), strict=True)
    load = traffic(list(rows))
    found, expected = (
        engine.simulate(load, deployed(policy, cost, ranks=2, groups=20, router=router())).tables
        for router in (LeastLoaded, LookingAtAll)
    )
    for name, column in found.requests.items():
        np.testing.assert_array_equal(column, expected.requests[name], err_msg=name)


@pytest.mark.parametrize("ranks", [1, 2])
def test_as_many_steps_are_planned_as_one_may_at_most_and_then_it_is_not_at_work(ranks):
    load = traffic([(0.0, 4, 10), (0.0, 4, 10)])
    cluster = engine.assemble(load, deployed(EachStep, EvenCost(1.0), ranks=ranks, router=RoundRobin()))
    for number, rank in enumerate(cluster.replicas):
        rank.submit(new_job(number, prompt_tokens=4, output_tokens=10))
    one = cluster.replicas[0]
    for planned in (3, 6):
        assert not one.run_until(np.inf, 3)
        assert [(rank._engine.step, rank._running) for rank in cluster.replicas] == [(planned, False)] * ranks
    assert one.run_until(np.inf, 30)
    assert [(rank._engine.step, rank._running) for rank in cluster.replicas] == [(10, False)] * ranks
