"""Replicas that are ordered and given back: when they serve, and that nothing is lost with them."""

import copy

import numpy as np
import pytest

from policies.migration.llumnix import Llumnix
from policies.routing.least_loaded import LeastLoaded
from policies.scaling.queue_length import QueueLength
from policies.scaling.target_concurrency import TargetConcurrency
from simulator.cluster.deployment import Deployment, Fault, Faults, Pool, Scaling
from simulator.policy import Move
from simulator.replica.limits import Limits
from tests.cluster_cases import play
from tests.refusals import folder, refusal  # noqa: F401
from tests.scaled_clusters import Wants, lives, scaled
from tests.small_clusters import ROOMY, SECOND, First, apart, link, places, serve, times, traffic

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
    limits = ROOMY._replace(max_num_seqs=1)
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
    assert outcome.prefix_hits[:2] == (
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


def test_what_waits_is_spread_over_all_that_come_at_once():
    requests = traffic([0, *[9.5] * 6], [4] * 7, [2] * 7)
    outcome = serve(requests, scaled(Wants(*[0] * 9, 3), provision_s=5.0, load_s=2.0))
    assert sorted(outcome.tables.requests["replica"].tolist()[1:]) == [0, 0, 1, 1, 2, 2]


def test_a_pool_of_decode_replicas_comes_from_none_too():
    base = apart(1, 1)
    decode = base.pools[1]._replace(scaling=Scaling(Wants(0), 0, 2, 4.0, 1.0))
    requests = traffic([5], [4], [5])
    outcome = serve(requests, base._replace(pools=[base.pools[0], decode]))
    assert lives(outcome) == [(1, 0, 0, 0, 1, 1), (1, 7, 11, 12, 12, pytest.approx(16.4))]
    assert places(outcome, 0) == [0, 1, 1, 1, 1]
    assert times(outcome, 0)[1] > 12


def test_each_pool_is_scaled_by_itself():
    base = apart(1, 1)
    pools = [
        pool._replace(scaling=Scaling(Wants(number), 1, 4, 1.0, 0.0))
        for pool, number in zip(base.pools, (2, 3), strict=True)
    ]
    requests = traffic(np.arange(20.0), [4] * 20, [3] * 20)
    outcome = serve(requests, base._replace(pools=pools))
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


def test_faults_of_empty_places_hit_no_replica():
    requests = traffic(np.arange(12.0), [4] * 12, [2] * 12)
    faults = Faults([Fault("crash", 1, 0.5, 4.0), Fault("crash", 2, 2.5, 50.0)])
    outcome = serve(requests, scaled(Wants(1, 2), provision_s=1.5, faults=faults))
    assert lives(outcome)[1] == (1, 2, 3.5, 3.5, None, None)
    assert (outcome.tables.requests["replica"] == 1).any()


class Never:
    """Migrates no request, but could."""

    interval_s = 1.0

    def moves(self, replicas, now_s):
        return [Move(job, 0, 0) for job in replicas[0].running]


@pytest.mark.parametrize("migration", [Never, Llumnix])
def test_requests_leave_a_draining_replica_where_they_may_migrate(migration):
    requests = traffic([0, 0.25], [24] * 2, [40, 40])
    deployment = scaled(Wants(2, 2, 2, 1, interval_s=1.3), replicas=2)
    stays = serve(requests, deployment)
    deployment = scaled(Wants(2, 2, 2, 1, interval_s=1.3), replicas=2, migration=migration())
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
