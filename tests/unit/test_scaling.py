"""Replicas that are ordered and given back: when they serve, what they cost, and that nothing is lost with them."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulator
from policies.routing.least_loaded import LeastLoaded
from policies.routing.round_robin import RoundRobin
from policies.scaling.queue_length import QueueLength
from policies.scaling.target_concurrency import TargetConcurrency
from simulator import Scenario, run
from simulator.cluster.deployment import Deployment, Fault, Faults, Pool, Scaling
from simulator.errors import InputError
from simulator.policy import Move
from simulator.replica.limits import Limits
from simulator.results import billing
from tests.cluster_cases import deployments, play
from tests.refusals import folder, refusal  # noqa: F401
from tests.small_clusters import ROOMY, SECOND, First, apart, link, places, serve, synchronous, times, traffic

NAN = pytest.approx(math.nan, nan_ok=True)


class Wants:
    """Wants given numbers, one a look."""

    def __init__(self, *numbers, interval_s=1.0):
        self.numbers, self.interval_s, self.seen = iter(numbers), interval_s, []

    def target(self, pool, now_s):
        self.seen.append((now_s, len(pool.replicas), pool.coming, len(pool.unplaced)))
        self.last = next(self.numbers, getattr(self, "last", 0))
        return self.last


def scaled(policy, *, least=0, most=4, replicas=1, provision_s=0.0, load_s=0.0, router=None, **more):
    scaling = Scaling(policy, least, most, provision_s, load_s)
    pool = Pool(synchronous, SECOND, more.pop("limits", ROOMY), replicas, scaling=scaling)
    return Deployment([pool], router or RoundRobin(), link=link(24), **more)


def lives(outcome):
    """Each as replica, ordered, billed from, ready, draining, released; None for never."""
    rows = zip(*(column.tolist() for column in outcome.tables.scaling.values()), strict=True)
    return [tuple(None if value != value else value for value in row) for row in rows]


# When they serve


def test_a_new_replica_serves_when_it_is_there_and_has_loaded():
    requests = traffic(range(12), [4] * 12, [2] * 12)
    policy = Wants(2, interval_s=1.5)
    outcome = serve(requests, scaled(policy, provision_s=3.0, load_s=2.25))
    assert lives(outcome) == [(0, 0, 0, 0, None, None), (1, 1.5, 4.5, 6.75, None, None)]
    requests = outcome.tables.requests
    second = requests["replica"] == 1
    assert requests["arrival_s"][second].tolist() == [7, 9, 11]  # the router's turns among two
    assert policy.seen[0] == (1.5, 1, 0, 0)
    assert policy.seen[1:4] == [(3.0, 1, 1, 0), (4.5, 1, 1, 0), (6.0, 1, 1, 0)]
    assert policy.seen[4] == (7.5, 2, 0, 0)


def test_the_queue_grows_while_replicas_come():
    """A seat for one, a request a second of two seconds each: three replicas are enough when they are there."""
    limits = dataclasses.replace(ROOMY, max_num_seqs=1)
    requests = traffic(np.arange(60.0), [4] * 60, [2] * 60)
    policy = QueueLength(interval_s=1.0, waiting_per_replica=1.0)
    slow = serve(
        requests, scaled(policy, most=3, provision_s=10.0, load_s=5.0, limits=limits, router=LeastLoaded())
    )
    ready_s = slow.tables.scaling["ready_s"]
    assert (ready_s[1:] >= 15).all()
    waited_s = slow.tables.requests["first_scheduled_s"] - slow.tables.requests["arrival_s"]
    assert (np.diff(waited_s[: int(ready_s[1])]) == 1).all()
    assert waited_s[-5:].max() <= 1
    at_once = serve(requests, scaled(copy.deepcopy(policy), most=3, limits=limits, router=LeastLoaded()))
    waited_s = at_once.tables.requests["first_scheduled_s"] - at_once.tables.requests["arrival_s"]
    assert waited_s.max() <= 4


def test_one_that_drains_finishes_what_it_has_and_gets_nothing_new():
    requests = traffic([0, 0.5, 2.5, 4.5], [4] * 4, [6, 9, 2, 2])
    outcome = serve(requests, scaled(Wants(2, 2, 1), replicas=2))
    assert lives(outcome) == [(0, 0, 0, 0, None, None), (1, 0, 0, 0, 3, 9.5)]  # request 1 has fewer tokens
    assert outcome.tables.requests["replica"].tolist() == [0, 1, 0, 0]
    assert times(outcome, 1)[-1] == 9.5


def test_ordering_while_one_drains_takes_it_back():
    requests = traffic([0, 0.5, 6.5, 7.5], [4] * 4, [9, 9, 2, 2])
    outcome = serve(requests, scaled(Wants(2, 1, 1, 2), replicas=2, provision_s=100.0))
    assert lives(outcome) == [(0, 0, 0, 0, None, None), (1, 0, 0, 0, None, None)]
    assert sorted(outcome.tables.requests["replica"].tolist()) == [0, 0, 1, 1]


def test_an_order_is_cancelled_before_any_replica_drains():
    requests = traffic(np.arange(8.0), [4] * 8, [2] * 8)
    outcome = serve(requests, scaled(Wants(3, 3, 2, 1), provision_s=1.5, load_s=10.0))
    assert lives(outcome) == [
        (0, 0, 0, 0, None, None),
        (1, 1, 2.5, None, None, 4),  # loading already
        (2, 1, 2.5, None, None, 3),
    ]


def test_a_replica_begins_with_an_empty_cache():
    from policies.scheduling.vllm_v1 import VllmV1

    requests = traffic(
        [0, 4, 8, 20], [64] * 4, [2] * 4, segments=[[(1, 64)]] * 4, output_stream=np.arange(4) + 2
    )
    pool = Pool(
        lambda: VllmV1(async_scheduling=False, enable_prefix_caching=True), SECOND, ROOMY, 2,
        scaling=Scaling(Wants(*[2] * 9, 1, 0, 2), 0, 2),
    )  # fmt: skip
    outcome = serve(requests, Deployment([pool], First(), link=link(24)))
    assert [life[0] for life in lives(outcome)] == [0, 1, 0, 1]
    assert outcome.prefix_hits == (
        2 * 48,
        4 * 64,
    )  # 1 and 2 find it; 3 does not; counts of past replicas stay


def test_from_none_a_request_waits_for_one():
    requests = traffic([0, 20.25, 20.5], [4] * 3, [2] * 3)
    policy = Wants(*[1] * 3, 0)
    outcome = serve(requests, scaled(policy, provision_s=5.0, load_s=2.0))
    assert lives(outcome) == [(0, 0, 0, 0, 4, 4), (0, 21, 26, 28, 28, 30)]
    assert outcome.tables.requests["first_scheduled_s"].tolist() == [0, 28, 28]
    assert (21.0, 0, 0, 2) in policy.seen  # it wanted none


def test_a_pool_of_decode_replicas_comes_from_none_too():
    base = apart(1, 1)
    decode = dataclasses.replace(base.pools[1], scaling=Scaling(Wants(0), 0, 2, 4.0, 1.0))
    requests = traffic([5], [4], [5])
    outcome = serve(requests, dataclasses.replace(base, pools=[base.pools[0], decode]))
    assert lives(outcome) == [(1, 0, 0, 0, 1, 1), (1, 7, 11, 12, 12, pytest.approx(16.4))]
    assert places(outcome, 0) == [0, 1, 1, 1, 1]
    assert times(outcome, 0)[1] > 12


def test_each_pool_is_scaled_by_itself():
    base = apart(1, 1)
    pools = [
        dataclasses.replace(pool, scaling=Scaling(Wants(number), 1, 4, 1.0, 0.0))
        for pool, number in zip(base.pools, (2, 3), strict=True)
    ]
    requests = traffic(np.arange(20.0), [4] * 20, [3] * 20)
    outcome = serve(requests, dataclasses.replace(base, pools=pools))
    assert [life[0] for life in lives(outcome)] == [0, 1, 4, 5, 6]
    assert set(outcome.tables.requests["replica"].tolist()) == {4, 5, 6}
    assert set(outcome.tables.steps["replica"].tolist()) == {0, 1, 4, 5, 6}


# With what else may happen


def test_a_draining_replica_that_crashes_is_not_repaired():
    requests = traffic([0, 0.5], [4] * 2, [9, 9])
    faults = Faults([Fault("crash", 1, 4.5, 2.0)])
    outcome = serve(requests, scaled(Wants(2, 1), replicas=2, faults=faults))
    assert lives(outcome) == [(0, 0, 0, 0, None, None), (1, 0, 0, 0, 2, 4.5)]
    assert outcome.tables.requests["replica"].tolist() == [0, 0]


def test_one_that_is_down_counts_as_coming_and_goes_first():
    requests = traffic(np.arange(8.0), [4] * 8, [2] * 8)
    policy = Wants(2, 2, 2, 1)
    outcome = serve(requests, scaled(policy, replicas=2, faults=Faults([Fault("crash", 0, 1.5, 50.0)])))
    assert policy.seen[1] == (2.0, 1, 1, 0)
    assert lives(outcome) == [(0, 0, 0, 0, None, 4), (1, 0, 0, 0, None, None)]


def test_faults_of_places_where_nobody_stands_hit_nobody():
    requests = traffic(np.arange(12.0), [4] * 12, [2] * 12)
    faults = Faults([Fault("crash", 1, 0.5, 4.0), Fault("crash", 2, 2.5, 50.0)])
    outcome = serve(requests, scaled(Wants(1, 2), provision_s=1.5, faults=faults))
    assert lives(outcome)[1] == (1, 2, 3.5, 3.5, None, None)
    assert (outcome.tables.requests["replica"] == 1).any()


class Never:
    """Migrates nobody, but could."""

    interval_s = 1.0

    def moves(self, replicas, now_s):
        return [Move(job, 0, 0) for job in replicas[0].running]


def test_requests_leave_a_draining_replica_where_they_may_migrate():
    requests = traffic([0, 0.25], [24] * 2, [40, 40])
    deployment = scaled(Wants(2, 2, 2, 1, interval_s=1.3), replicas=2)
    stays = serve(requests, deployment)
    deployment = scaled(Wants(2, 2, 2, 1, interval_s=1.3), replicas=2, migration=Never())
    goes = serve(requests, deployment)
    draining_s = lives(goes)[1][4]
    assert draining_s == lives(stays)[1][4] == pytest.approx(5.2)
    assert lives(stays)[1][5] == pytest.approx(40.25)
    assert draining_s < lives(goes)[1][5] < draining_s + 6  # 28 tokens at 24 a second, and the step's end
    assert set(places(goes, 1)) == {0, 1}


@pytest.mark.parametrize("closed", [{"concurrency": 2}, {"session": [0, 0, 0, 0, 1, 1], "think_s": 30.0}])
def test_a_closed_loop_is_scaled_and_ends(closed):
    closed = {
        "concurrency": closed.get("concurrency"),
        "session": None if "session" not in closed else np.array(closed["session"]),
        "think_s": None if "think_s" not in closed else np.full(6, closed["think_s"]),
    }
    requests = traffic([0, 0, 0, 0, 0, 0], [4] * 6, [4] * 6, **closed)
    outcome = serve(requests, scaled(TargetConcurrency(requests=1.0), most=3, provision_s=3.0))
    assert (outcome.tables.requests["state"] == 0).all() or len(outcome.tables.requests["state"]) == 6
    assert len(lives(outcome)) > 1
    assert any(life[5] is not None for life in lives(outcome)) == (closed["think_s"] is not None)


def test_the_policy_is_not_asked_when_nothing_is_left():
    policy = Wants(1)
    serve(traffic([0, 7], [4, 4], [2, 2]), scaled(policy))
    assert policy.seen[-1][0] == 9.0  # the last token's time


def test_a_request_that_can_never_run_does_not_keep_the_policy_awake():
    limits = Limits(64, 4096, 4096, 11, 4, strict_engine=True)  # 40 tokens
    policy = Wants(1)
    _, outcome = play(traffic([0, 3], [100, 4], [2, 2]), scaled(policy, limits=limits))
    assert "never schedules" in outcome.stalled
    assert len(policy.seen) <= 6


# What it costs


def test_a_pool_that_never_changes_is_the_fixed_cluster():
    @settings(max_examples=60, deadline=None)
    @given(
        deployments(modes=("plain", "tight", "disaggregated", "faults", "abandonment", "migration", "mixed"))
    )
    def check(case):
        requests, deployment = case
        pools = [dataclasses.replace(each, scaling=None) for each in deployment.pools]
        count = sum(each.replicas for each in pools)
        faults = [each for each in deployment.faults.events if each.replica < count]
        faults = dataclasses.replace(deployment.faults, events=faults)
        fixed = dataclasses.replace(deployment, pools=pools, roles=None, faults=faults)
        held = [
            dataclasses.replace(
                each, scaling=Scaling(Wants(each.replicas + 1, 0), each.replicas, each.replicas)
            )
            for each in pools
        ]
        one = play(requests, copy.deepcopy(fixed))[1].tables
        two = play(requests, copy.deepcopy(dataclasses.replace(fixed, pools=held)))[1].tables
        assert len(two.scaling["replica"]) == count
        for table in ("requests", "tokens", "steps", "transfers"):
            for name, column in getattr(one, table).items():
                assert column.tobytes() == getattr(two, table)[name].tobytes(), (table, name)

    check()


MANIFEST = {
    "pools": [
        {"role": "prefill", "replicas": 2, "places": 3, "scaling": {}, "tensor_parallel_size": 2,
         "usd_per_gpu_hour": 3.0},
        {"role": "decode", "replicas": 4, "places": 4, "scaling": None, "tensor_parallel_size": 1,
         "usd_per_gpu_hour": 1.0},
    ],
    "gpus": 8,
    "usd_per_gpu_hour": 2.0,
}  # fmt: skip


def table(*rows):
    names = ("ordered_s", "billed_from_s", "ready_s", "draining_s", "released_s")
    columns = np.array(rows, float).T
    return {"replica": columns[0].astype(np.int32), **dict(zip(names, columns[1:], strict=True))}


def test_bills_by_hand():
    nan = math.nan
    scaling = table(
        (0, 0, 0, 0, nan, nan),
        (1, 0, 0, 0, 500, 600),
        (2, 900, 1000, 1100, nan, nan),
        (1, 2000, 2100, nan, nan, 2050),  # cancelled before it was there
        (1, 3500, 3700, nan, nan, nan),  # and one too late
    )
    paid = billing.bill(MANIFEST, scaling, 0.0, 3600.0)
    prefill_s, decode_s = 3600 + 600 + 2600, 4 * 3600
    assert paid["gpu_hours"] == pytest.approx((2 * prefill_s + decode_s) / 3600)
    assert paid["usd"] == pytest.approx((3 * 2 * prefill_s + decode_s) / 3600)
    assert paid["gpus"] == pytest.approx((2 * prefill_s + decode_s) / 3600)
    assert paid["replicas"] == {
        "prefill": {
            "mean": pytest.approx(prefill_s / 3600),
            "peak": 2,
            "mean_in_service": pytest.approx((3600 + 600 + 2500) / 3600),
            "ordered": 3,
            "released": 2,
        }
    }
    later = billing.bill(MANIFEST, scaling, 550.0, 1050.0)["replicas"]["prefill"]
    assert (later["mean"], later["peak"], later["released"]) == (pytest.approx((500 + 50 + 50) / 500), 2, 1)
    assert billing.service_s(MANIFEST, scaling, 0.0, 3600.0) == pytest.approx(3600 + 600 + 2500 + decode_s)
    assert billing.bill(MANIFEST, None, 0.0, 1800.0) == {"gpus": 8, "gpu_hours": 4.0, "usd": 8.0}


moments = st.one_of(st.just(math.nan), st.floats(0, 100))


@given(st.lists(st.tuples(st.floats(0, 100), moments), min_size=1, max_size=8))
def test_the_bill_is_the_integral_of_replicas_over_time(lengths):
    rows = [(i, begin, begin, begin, math.nan, begin + lasts) for i, (begin, lasts) in enumerate(lengths)]
    scaling = table(*rows)
    pool = {"role": "both", "replicas": 1, "places": 8, "scaling": {}, "tensor_parallel_size": 1}
    paid = billing.bill({"pools": [pool], "usd_per_gpu_hour": 1.0}, scaling, 10.0, 70.0)
    edges = np.unique(
        np.clip([10, 70, *scaling["billed_from_s"], *np.nan_to_num(scaling["released_s"], nan=70)], 10, 70)
    )
    middle = (edges[1:] + edges[:-1]) / 2
    there = [sum(begin <= t and not t >= end for _, begin, _, _, _, end in rows) for t in middle]
    assert paid["gpu_hours"] * 3600 == pytest.approx(np.dot(there, np.diff(edges)), abs=1e-6)
    longest = [count for count, lasts in zip(there, np.diff(edges), strict=True) if lasts > 1e-9]
    assert paid["replicas"]["both"]["peak"] >= max(longest, default=0)
    means = billing.mean_over_bins(scaling["billed_from_s"], scaling["released_s"], np.linspace(10, 70, 7))
    assert means.mean() == pytest.approx(paid["replicas"]["both"]["mean"])


# From a scenario to its result

DAY = {
    "cluster": {"replicas": 1, "scaling": {"max_replicas": 3, "provision_s": 20.0}},
    "policy": {"scaling": {"name": "schedule", "at_s": [0.0, 60.0, 150.0], "replicas": [1, 3, 1]}},
    "workload": {"trace": "azure2023_conv", "end_s": 240.0},
}


@pytest.fixture(scope="module")
def day():
    return run(Scenario(**DAY))


def test_a_schedule_has_these_replicas_at_these_times(day):
    rows = day.scaling().to_pylist()
    load_s = 16.06e9 / 2e9  # of a model of 8.03 G parameters, 2 bytes each
    assert [row["replica"] for row in rows] == [0, 1, 2]
    assert [row["ordered_s"] for row in rows] == [0, 60, 60]
    assert [row["billed_from_s"] for row in rows] == [0, 80, 80]
    assert [row["ready_s"] for row in rows] == pytest.approx([0, 80 + load_s, 80 + load_s], rel=1e-3)
    assert sorted(row["draining_s"] or 0 for row in rows) == [0, 150, 150]
    assert all(150 <= row["released_s"] < 165 for row in rows if row["draining_s"])


def test_a_result_says_what_was_paid_for(day, tmp_path):
    cost, engine, window = (day.summary()[key] for key in ("cost", "engine", "window"))
    scaling = day.scaling().to_pydict()
    ends = [window["end_s"] if end is None else end for end in scaling["released_s"]]
    begins = np.maximum(scaling["billed_from_s"], window["start_s"])
    hours = sum(np.array(ends) - begins) / 3600
    assert cost["gpu_hours"] == pytest.approx(hours)
    assert cost["usd"] == pytest.approx(hours * day.manifest["usd_per_gpu_hour"])
    benefit = day.summary()["smooth_goodput"]["benefit_tokens"]
    assert cost["smooth_good_tokens_per_gpu_hour"] == pytest.approx(benefit / hours)
    assert cost["replicas"] == day.manifest["replicas"]
    counts = cost["replicas"]["both"]
    assert (counts["peak"], counts["ordered"], counts["released"]) == (3, 2, 2)
    steps = day.steps().to_pydict()
    busy_s = sum(steps["end_s"]) - sum(steps["start_s"])
    begins = np.maximum(scaling["ready_s"], window["start_s"])
    assert engine["busy_share"] == pytest.approx(busy_s / sum(np.array(ends) - begins))
    assert engine["kv_usage_max"] <= 1
    day.save(tmp_path / "o")
    again = simulator.load(str(tmp_path / "o"))
    assert again.scaling().equals(day.scaling())
    assert again.summary() == day.summary()
    (tmp_path / "o" / "scaling.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"scaling\.parquet: not a readable parquet file"):
        simulator.load(str(tmp_path / "o"))


def test_the_report_says_how_many_there_were(day):
    from simulator.report.report import report

    text = report(day.manifest, day.summary())
    assert "1 x h100-80gb-sxm at the start" in text
    assert (
        "1 to 3 replicas, as schedule says; a new one takes 20 s to be there and 8.03 s to load the model"
        in text
    )
    assert "replicas paid for on average, 3 at most" in text
    assert "2 ordered, 2 released" in text


def test_loading_takes_what_the_bytes_take_unless_given():
    from simulator.scenario.resolve import servers

    def load_s(**more):
        cluster = {"scaling": {"max_replicas": 2, **more.pop("scaling", {})}}
        (server,) = servers(Scenario(cluster=cluster, policy={"scaling": "queue_length"}, **more))
        return server.scaling.load_s

    assert load_s(scaling={"load_gb_s": 4.0}) == pytest.approx(load_s() / 2)
    assert load_s(scaling={"load_s": 33.0}) == 33.0
    assert load_s(hardware={"quantization": "fp8"}) < load_s()
    (server,) = servers(Scenario(cluster={"scaling": {"max_replicas": 2}}))
    assert server.scaling is None  # the policy "none"


def test_pools_may_have_bounds_and_policies_of_their_own():
    result = run(
        Scenario(
            cluster={
                "prefill": {"scaling": "none"},
                "decode": {
                    "max_replicas": 2,
                    "scaling": {"name": "schedule", "at_s": [0.0], "replicas": [2]},
                },
                "scaling": {"provision_s": 1.0, "load_s": 1.0},
            },
            policy={"scaling": "queue_length"},
            workload={"trace": "azure2023_conv", "end_s": 60.0},
        )
    )
    assert [pool["places"] for pool in result.manifest["pools"]] == [1, 2]
    assert [row["replica"] for row in result.scaling().to_pylist()] == [1, 2]
    assert list(result.summary()["cost"]["replicas"]) == ["decode"]
    gpus = result.summary()["cost"]["gpus"]
    assert 2.5 < gpus < 3


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ('policy.scaling = "queue_lenght"', "policy.scaling: no policy 'queue_lenght'; did you mean 'queue_length'?"),
        ('policy.scaling = "queue_length"', "cluster.scaling.max_replicas: missing; expected beside scaling by"),
        (
            'policy.scaling = "queue_length"\ncluster.replicas = 5\ncluster.scaling.max_replicas = 4',
            "cluster.replicas: 5 at the start; expected from min_replicas = 1 to max_replicas = 4",
        ),
        (
            'policy.scaling = "queue_length"\ncluster.scaling = { min_replicas = 3, max_replicas = 2 }',
            "cluster.scaling.min_replicas: 3 in cluster; expected at most max_replicas = 2",
        ),
        ("cluster.scaling.max_replicas = 0", "cluster.scaling.max_replicas: expected a number >= 1, got 0"),
        ("cluster.scaling.min_replicas = -1", "cluster.scaling.min_replicas: expected a number >= 0, got -1"),
        ("cluster.scaling.provision_s = -1.0", "cluster.scaling.provision_s: expected a number >= 0, got -1.0"),
        ("cluster.scaling.load_s = inf", "cluster.scaling.load_s: expected a finite number"),
        ("cluster.scaling.load_gb_s = 0.0", "cluster.scaling.load_gb_s: expected a number > 0, got 0.0"),
        ("cluster.scaling.maximum = 3", "cluster.scaling.maximum: unknown key; "),
        (
            'policy = { scaling = "queue_length", roles = "by_load" }\n'
            "cluster = { prefill = {}, decode = {}, scaling = { max_replicas = 2 } }",
            "policy.roles: 'by_load' together with scaling 'queue_length'",
        ),
        (
            'cluster = { prefill = { scaling = "queue_length" }, decode = {} }',
            "cluster.scaling.max_replicas: missing; expected beside scaling by 'queue_length'",
        ),
        (
            'cluster = { prefill = { scaling = 3 }, decode = {} }',
            "cluster.prefill/decode.scaling: expected a name or a table with a name, got 3",
        ),
        (
            "cluster = { scaling.max_replicas = 3, faults.events = "
            '[{ kind = "crash", replica = 2, at_s = 1.0, for_s = 1.0 }] }',
            "cluster.faults.events: there is no replica 2; expected a number from 0 to 0",
        ),
        (
            'policy.scaling = "schedule"\ncluster = { scaling.max_replicas = 3, faults.events = '
            '[{ kind = "crash", replica = 3, at_s = 1.0, for_s = 1.0 }] }',
            "cluster.faults.events: there is no replica 3; expected a number from 0 to 2",
        ),
        (
            'policy.scaling = "half.py"\ncluster.scaling.max_replicas = 3',
            "policy.scaling: Half.target returned 1.5; expected a whole number",
        ),
        (
            'policy.scaling = "broken.py"\ncluster.scaling.max_replicas = 3',
            "broken.py: line 4: ZeroDivisionError: ",
        ),
        ('policy.scaling = "empty.py"\ncluster.scaling.max_replicas = 3', "Empty has no method target()"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(scenario, message, folder, capsys):  # noqa: F811
    head = "class {}:\n    interval_s = 1.0\n    def target(self, pool, now_s):\n        return {}\n"
    Path("half.py").write_text(head.format("Half", "1.5"))
    Path("broken.py").write_text(head.format("Broken", "1 // 0"))
    Path("empty.py").write_text("class Empty:\n    interval_s = 1.0\n")
    Path("s.toml").write_text(f'{scenario}\n[workload]\ntrace = "t.csv"\n')
    assert message in refusal(capsys, "run", "s.toml")
