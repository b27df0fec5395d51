"""Laws that hold for every policy in every kind of deployment: nothing is lost on the way."""

import copy
import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import Deployment, Link, Pool
from simulator.replica import fast_forward as ff
from simulator.replica import long_runs
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState
from simulator.results.transfer_table import MOMENTS, hand_over_parts
from simulator.scenario.discover import load
from simulator.workload.workload import Workload
from tests.cluster_cases import KV_BYTES, MODES, Often, deployments, play
from tests.engine_cases import CHOICES, ENGINES, EvenCost, native
from tests.examples import examples

BEFORE = ("request_id", "end_s", "tokens_before")


def check(traffic, deployment, cluster, outcome):
    """Raise AssertionError unless all laws hold."""
    steps, tokens, requests = outcome.tables.steps, outcome.tables.tokens, outcome.tables.requests
    transfers = outcome.tables.transfers
    horizon_s = deployment.horizon_s or np.inf
    state, n = requests["state"], len(requests["state"])
    rows = np.array(cluster.traffic.rows, int)
    assert outcome.stalled is None, outcome.stalled

    # Conservation: each request arrived once, is in one state, and got each token once and in order
    assert len(set(rows.tolist())) == len(rows) == n
    assert (requests["prompt_tokens"] == traffic.prompt_tokens[rows]).all()
    longest = longest_tokens(deployment, requests)
    asked = np.minimum(requests["output_tokens"], longest - requests["prompt_tokens"])
    done = state == RequestState.COMPLETED
    got = requests["delivered_tokens"]
    assert (got <= asked).all()
    assert (got[done] == asked[done]).all()
    expected = [(r, i + 1) for r in range(n) for i in range(got[r])]
    assert list(zip(tokens["request_id"].tolist(), tokens["token_index"].tolist(), strict=True)) == expected
    if deployment.horizon_s is None:
        assert RequestState.UNFINISHED not in state
        if not traffic_may_end_early(traffic, state):
            assert n == len(traffic.arrival_s)

    # KV balance, on every replica, and no request between replicas
    if deployment.horizon_s is None:
        for server in cluster.replicas:
            engine = server.engine
            for each in (engine.running, engine.waiting, engine.swapped, engine.transfers.received):
                assert not each
            for each in (
                engine.transfers.sending,
                engine.transfers.reserved,
                engine.transfers.requests,
                engine.transfers.detaching,
            ):
                assert not each
            assert engine.free_blocks == engine.total_blocks
            assert engine.outstanding_tokens == 0
        if cluster.kv_transfers is not None:
            assert not cluster.kv_transfers.in_flight
            assert cluster.kv_transfers.fabric.active_flows == 0

    # Links deliver exactly the bytes put in
    if cluster.kv_transfers is not None and not cluster.kv_transfers.in_flight:
        fabric = cluster.kv_transfers.fabric
        assert fabric.sent_bytes == pytest.approx(transfers["bytes"].sum())
        assert sum(fabric.bytes_out) == pytest.approx(sum(fabric.bytes_in))
        assert fabric.sent_bytes == pytest.approx(sum(fabric.bytes_out))
        there = transfers["arrived"] & (transfers["kind"] == "hand_off")
        prompts = requests["prompt_tokens"][transfers["request_id"][there]]
        first = deployment.hand_off is not None and deployment.hand_off.first_token == "decode"
        # What is there already is not sent, nor the token that is computed there
        sent = prompts - transfers["cached_tokens"][there] - first
        assert (transfers["bytes"][there] >= sent * KV_BYTES - 0.5).all()

    # Causality
    started = ~np.isnan(requests["first_scheduled_s"])
    assert (requests["first_scheduled_s"][started] >= requests["arrival_s"][started]).all()
    same = tokens["request_id"][1:] == tokens["request_id"][:-1]
    gaps_s = np.diff(tokens["generated_s"])[same]
    drafts = any(pool.speculation is not None for pool in deployment.pools)  # tokens of a step come together
    assert (gaps_s >= 0).all() if drafts else (gaps_s > 0).all()
    assert (tokens["delivered_s"] >= tokens["generated_s"]).all()
    assert (tokens["generated_s"] < horizon_s).all()
    assert (requests["end_s"] >= requests["arrival_s"]).all()
    assert (tokens["generated_s"] <= requests["end_s"][tokens["request_id"]]).all()
    assert (transfers["end_s"] >= transfers["start_s"]).all()
    moved = transfers["arrived"]
    latency_s = deployment.link.latency_s
    assert (transfers["end_s"][moved] >= transfers["start_s"][moved] + latency_s * 0.999).all()

    check_hand_overs(deployment, transfers, requests)
    for request, end_s, before in zip(*(transfers[name] for name in BEFORE), strict=True):
        if done[request]:  # else its reader may have gone while tokens were on their way
            generated_s = tokens["generated_s"][tokens["request_id"] == request]
            assert (generated_s < end_s).sum() <= before <= (generated_s <= end_s).sum()

    # Limits, replica by replica; steps of one replica do not overlap
    first = 0
    for pool in deployment.pools:
        mine = (steps["replica"] >= first) & (steps["replica"] < first + pool.places)
        first += pool.places
        usable = pool.limits.num_gpu_blocks - pool.rules.null_blocks
        assert (steps["kv_blocks_used"][mine] <= usable).all()
        assert (steps["kv_blocks_used"][mine] >= 0).all()
        assert (steps["running"][mine] <= pool.limits.max_num_seqs).all()
        computed = steps["prefill_tokens"] + steps["decode_seqs"]
        assert (computed[mine] <= pool.limits.max_num_batched_tokens).all()
    check_lifetimes(deployment, cluster, steps, requests)
    for replica in range(deployment.replicas):
        mine = steps["replica"] == replica
        assert (steps["start_s"][mine][1:] >= steps["end_s"][mine][:-1]).all()
        assert (steps["step"][mine] == np.arange(mine.sum())).all()


def longest_tokens(deployment, requests):
    """The longest sequence of each request; where replicas are unlike, of the one that served it last."""
    limits = [pool.limits.max_model_len for pool in deployment.pools]
    overrun = [pool.rules.overrun_tokens for pool in deployment.pools]
    if not deployment.mixed:
        return min(limits) + max(overrun)
    pool = np.repeat(range(len(limits)), [each.places for each in deployment.pools])
    return np.append((np.array(limits) + overrun)[pool], max(limits) + max(overrun))[requests["replica"]]


def check_hand_overs(deployment, transfers, requests):
    """Raise AssertionError unless each hand-over's moments come in turn, and no token before its KV."""
    rule, link = deployment.hand_off, deployment.link
    mine = transfers["arrived"] & (transfers["kind"] == "hand_off")
    if rule is None or not mine.any():
        return
    moments = [transfers[name][mine] for name in MOMENTS]
    for earlier, later in pairwise(moments[:5]):
        assert (later >= earlier).all()
    given = ~np.isnan(moments[-1])
    for earlier, later in pairwise(moments[4:]):
        assert (later[given] >= earlier[given]).all()
    parts = hand_over_parts(transfers)
    total = parts.pop("total")
    assert len(total) == given.sum()
    assert sum(parts.values()) == pytest.approx(total)
    if not rule.early:
        costs_s = link.latency_s + link.setup_s + link.descriptor_s * transfers["descriptors"][mine]
        assert (moments[4] - moments[3] >= costs_s * 0.999).all()
        assert (moments[1] - moments[0] >= rule.routing_s * 0.999).all()
    if rule.first_token == "decode":  # none before the KV is there
        first = given & (transfers["tokens_before"][mine] == 0)
        first_s = requests["first_token_s"][transfers["request_id"][mine][first]]
        assert (first_s >= moments[4][first]).all()


def check_lifetimes(deployment, cluster, steps, requests):
    """Raise AssertionError unless replicas that come and go keep to their times and bounds."""
    lifetimes = cluster.autoscalers.lifetimes
    scaled = [pool for pool in deployment.pools if pool.scaling is not None]
    assert bool(lifetimes) == any(pool.replicas or pool.places for pool in scaled) or not scaled
    places = {each.replica for each in lifetimes}
    outside = ~np.isin(steps["replica"], list(places))
    for each in lifetimes:
        assert each.ordered_s <= each.billed_from_s
        assert not each.ready_s < each.billed_from_s
        assert not each.released_s < each.ordered_s
        assert not each.draining_s < each.ready_s
        assert not each.released_s < each.draining_s
        if not np.isnan(each.ready_s):
            released_s = np.inf if np.isnan(each.released_s) else each.released_s
            outside |= (
                (steps["replica"] == each.replica)
                & (steps["start_s"] >= each.ready_s)
                & (steps["end_s"] <= released_s)
            )
    assert outside.all()  # each step within a life
    for replica in places:
        mine = [each for each in lifetimes if each.replica == replica]
        for one, two in pairwise(mine):
            assert one.released_s <= two.ordered_s
    first = 0
    for pool in deployment.pools:
        own = [each for each in lifetimes if first <= each.replica < first + pool.places]
        first += pool.places
        if pool.scaling is None:
            assert not own
            continue
        changes = sorted(
            [(each.ordered_s, 1) for each in own]
            + [(each.released_s, -1) for each in own if each.released_s >= 0]
        )
        assert all(count <= pool.places for count in np.cumsum([change for _, change in changes]))


def traffic_may_end_early(traffic, state):
    """Whether a session may have ended before its last turn."""
    return traffic.think_s is not None and (state != RequestState.COMPLETED).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
@settings(max_examples=examples(4), deadline=None)
@given(data=st.data())
def test_laws_of_deployments(choice, mode, data):
    traffic, deployment = data.draw(deployments([choice], [mode]))
    check(traffic, deployment, *play(traffic, deployment))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data())
def test_laws_of_deployments_on_every_engine(mode, data):
    """Under every policy, on every engine, in every deployment: the laws hold."""
    traffic, deployment = data.draw(deployments(modes=[mode]))
    rules = data.draw(st.sampled_from(ENGINES))
    pools = []
    for pool in deployment.pools:
        blocks = pool.limits.num_gpu_blocks + rules.null_blocks
        limits = pool.limits._replace(num_gpu_blocks=blocks)
        pools.append(pool._replace(rules=rules, limits=limits))
    deployment = deployment._replace(pools=pools)
    check(traffic, deployment, *play(traffic, deployment))


@settings(max_examples=examples(60), deadline=None)
@given(deployments())
def test_looking_changes_nothing(case):
    """Replicas that are computed when looked at do what they do where each end of a step is an event."""
    check_looking(*case)


def check_looking(traffic, deployment):
    """Return the tables of a run; AssertionError unless they are the same where each end of a step is an event."""
    one = play(traffic, copy.deepcopy(deployment))[1].tables
    with pytest.MonkeyPatch.context() as patch:
        event_by_event(patch)
        two = play(traffic, copy.deepcopy(deployment))[1].tables
    same(one, two)
    return one


def event_by_event(patch):
    """Let every replica have a timer at each end of a step, and every arrival be an event."""

    def next_end_s(self):
        if self._to_plan:
            return self._now_s
        return self.in_flight[0][0] if self.in_flight else math.inf

    patch.setattr(Replica, "next_effect_s", next_end_s)
    patch.setattr(Cluster, "open_loop", False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["vllm_v0", "vllm_v1", "sarathi", "sglang"])
def test_looking_changes_nothing_where_all_steps_end_at_once(name, seed):
    """Steps on three replicas tie, while requests move between them: who acts first is settled by number."""
    prompts = [17, 11, 14, 26, 53, 30, 42, 45, 54, 1, 56, 56, 56, 42, 19, 50, 45]
    outputs = [12, 37, 60, 19, 46, 7, 50, 43, 42, 60, 36, 11, 25, 56, 54, 11, 35]
    arrival_s = [0, 0, 0.25, 0.25, 0.25, 0.75, 2.5, 2.5, 2.5, 4.25, 6, 6.5, 6.5, 7, 7.5, 8, 8]
    traffic = Workload("ties", *map(np.array, (arrival_s, prompts, outputs)), 60, "made by hand")
    policy = load("scheduling", name)
    pool = Pool(policy, EvenCost(), Limits(12, 43, 120, 11, 16), 3, rules=native(policy))
    router = load("routing", "power_of_two")()
    moves = Often(random.Random(seed))
    deployment = Deployment([pool], router, migration=moves, link=Link(1e12, 0.01, 1024), seed=seed)
    assert len(check_looking(traffic, deployment).transfers["bytes"]) > 10


@settings(max_examples=examples(60), deadline=None)
@given(deployments())
def test_fast_forward_changes_nothing(case):
    """Steps that are run without asking the policy are those that it would plan."""
    traffic, deployment = case
    one = play(traffic, copy.deepcopy(deployment))[1]
    with pytest.MonkeyPatch.context() as patch:
        for module in (ff, long_runs):
            patch.setattr(module, "LONG_RUN", 2)  # short runs, too, are computed at once
        two = play(traffic, copy.deepcopy(deployment))[1]
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        three = play(traffic, copy.deepcopy(deployment))[1]
    for other in (two, three):
        same(one.tables, other.tables)
        assert one.prefix_hits == other.prefix_hits


def same(one, two):
    """All tables are equal, to the last bit."""
    for table in ("steps", "tokens", "requests", "transfers"):
        for name, column in getattr(one, table).items():
            assert column.tobytes() == getattr(two, table)[name].tobytes(), (table, name)
