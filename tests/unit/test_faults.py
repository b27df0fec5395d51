"""Crashes, slow replicas and thin links: what is lost, what is kept, and that everything comes to an end."""

import copy

import numpy as np
import pytest

from policies.abandonment.missed_slo import MissedSlo
from policies.routing.random import Random
from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import Fault, Faults
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.engine_cases import EvenCost
from tests.small_clusters import (
    apart,
    places,
    serve,
    synchronous,
    tight,
    times,
    together,
    traffic,
    transfers,
)


def crashes(*events, retries=3):
    """Each event: replica, when, for how long."""
    return Faults([Fault("crash", *event) for event in events], retries=retries)


def states(outcome):
    return outcome.tables.requests["state"].tolist()


def got(outcome):
    return outcome.tables.requests["delivered_tokens"].tolist()


# Crashes


@pytest.mark.parametrize("policy", [synchronous, VllmV1, Sglang])
def test_the_step_in_flight_is_lost_and_what_was_delivered_stays(policy):
    """Three tokens by 3.0, the fourth on its way: it is computed elsewhere, after 11 known ones."""
    outcome = serve(traffic([0], [8], [6]), together(policy=policy, faults=crashes((0, 3.5, 9.0))))
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.5, 5.5, 6.5]
    assert places(outcome, 0) == [0, 0, 0, 1, 1, 1]
    assert states(outcome) == [RequestState.COMPLETED]
    steps = outcome.tables.steps
    assert steps["end_s"][steps["replica"] == 0].max() == 3.0  # a step that was lost is in no table
    assert steps["prefill_tokens"][steps["replica"] == 1].max() == 11


def test_a_step_that_would_end_at_the_instant_of_the_crash_is_lost():
    outcome = serve(traffic([0], [8], [4]), together(faults=crashes((0, 3.0, 9.0))))
    assert times(outcome, 0) == [1.0, 2.0, 4.0, 5.0]


def test_waiting_requests_go_elsewhere_too():
    outcome = serve(traffic([0, 0, 1], [8] * 3, [3] * 3), together(limits=tight(9, seqs=1),
                    faults=crashes((0, 1.5, 9.0))))  # fmt: skip
    assert times(outcome, 0) == [1.0, 2.5, 3.5]
    assert times(outcome, 1) == [4.5, 5.5, 6.5]
    assert times(outcome, 2) == [7.5, 8.5, 9.5]


def test_without_retries_a_crash_is_the_end():
    outcome = serve(traffic([0, 0, 4], [8] * 3, [4] * 3), together(faults=crashes((0, 2.5, 9.0), retries=0)))
    assert states(outcome) == [RequestState.FAILED, RequestState.FAILED, RequestState.COMPLETED]
    assert got(outcome) == [2, 2, 4]
    assert outcome.tables.requests["end_s"].tolist()[:2] == [2.5, 2.5]


@pytest.mark.parametrize(
    ("retries", "tokens", "state"), [(1, 3, RequestState.FAILED), (2, 5, RequestState.COMPLETED)]
)
def test_one_crash_too_many(retries, tokens, state):  # fmt: skip
    """At 2.5 and at 4.0, just as often as it may be computed again, or once more."""
    faults = crashes((0, 2.5, 1.0), (1, 4.0, 9.0), retries=retries)
    outcome = serve(traffic([0], [8], [5]), together(faults=faults))
    assert got(outcome) == [tokens]
    assert states(outcome) == [state]
    assert places(outcome, 0) == [0, 0, 1, 0, 0][:tokens]


def test_a_replica_comes_back_empty_and_serves():
    outcome = serve(traffic([0, 4], [8, 8], [4, 4]), together(1, faults=crashes((0, 1.5, 1.0))))
    assert times(outcome, 0) == [1.0, 3.5, 4.5, 5.5]
    assert times(outcome, 1) == [5.5, 6.5, 7.5, 8.5]
    steps = outcome.tables.steps
    assert steps["step"].tolist() == list(range(len(steps["step"])))  # numbered through both lives


def test_faults_on_top_of_one_another_end_with_the_last():
    faults = crashes((0, 1.5, 3.0), (0, 2.0, 1.0))
    assert times(serve(traffic([0], [8], [2]), together(1, faults=faults)), 0) == [1.0, 5.5]


def test_requests_wait_at_the_gate_while_no_replica_is_up():
    faults = crashes((0, 1.5, 3.0), (1, 1.25, 5.0))
    outcome = serve(traffic([0, 2, 3], [8] * 3, [2] * 3), together(faults=faults))
    assert times(outcome, 0) == [1.0, 5.5]
    assert times(outcome, 1) == times(outcome, 2) == [5.5, 6.5]
    assert outcome.tables.requests["first_scheduled_s"].tolist() == [0.0, 4.5, 4.5]


def test_who_waits_at_the_gate_may_leave():
    faults = crashes((0, 0.5, 9.0))
    requests = traffic([1, 2, 4], [8] * 3, [2] * 3, leave_s=[2.5, np.nan, np.nan])
    outcome = serve(requests, together(1, faults=faults, abandonment=MissedSlo(ttft_s=7.0)))
    by_user, by_system = RequestState.ABANDONED_BY_USER, RequestState.ABANDONED_BY_SYSTEM
    assert states(outcome) == [by_user, by_system, RequestState.COMPLETED]
    assert outcome.tables.requests["end_s"].tolist() == [2.5, 9.0, 11.5]


# Between prefill and decode replicas


def test_a_prefill_replica_that_crashes_while_it_sends():
    outcome = serve(traffic([0], [20], [3]), apart(2, 1, faults=crashes((0, 2.0, 9.0))))
    assert times(outcome, 0) == [1.0, 3.0, 6.1]  # 20 tokens and one, computed again and sent: 2.1 s
    assert places(outcome, 0) == [0, 1, 2]
    assert [each[4:] for each in transfers(outcome)] == [(2.0, 10.0, False), (5.1, 21.0, True)]


def test_a_decode_replica_that_crashes_while_it_receives():
    """The KV cache is still at the source, so it is sent to another one."""
    outcome = serve(traffic([0], [20], [3]), apart(1, 2, faults=crashes((1, 2.0, 9.0))))
    assert times(outcome, 0) == [1.0, 5.0, 6.0]
    assert places(outcome, 0) == [0, 2, 2]
    assert [each[1:5] for each in transfers(outcome)] == [(0, 1, 1.0, 2.0), (0, 2, 2.0, 4.0)]


def test_a_decode_replica_that_crashes_loses_the_prompt_too():
    """The prompt and two tokens are computed again at the prefill replica, and sent again."""
    outcome = serve(traffic([0], [20], [4]), apart(1, 2, faults=crashes((1, 4.5, 9.0))))
    assert times(outcome, 0) == [1.0, 4.0, 5.5, 8.7]
    assert places(outcome, 0) == [0, 1, 0, 2]


def test_prompts_are_computed_while_no_decode_replica_is_up():
    outcome = serve(traffic([0], [20], [3]), apart(1, 1, faults=crashes((1, 0.5, 5.0))))
    assert times(outcome, 0) == [1.0, 8.5, 9.5]  # sent from 5.5 to 7.5


def test_requests_wait_while_no_prefill_replica_is_up():
    outcome = serve(traffic([1], [20], [3]), apart(1, 1, faults=crashes((0, 0.5, 5.0))))
    assert times(outcome, 0) == [6.5, 9.5, 10.5]


# Slow replicas and thin links


@pytest.mark.parametrize("policy", [synchronous, VllmV1])
def test_a_slow_replica_is_slow_in_its_window(policy):
    """Steps planned from 2.5 to 8.5 take three seconds; with asynchronous scheduling that is a step before."""
    faults = Faults([Fault("slow", 0, 2.5, 6.0, 3.0)])
    ends = times(serve(traffic([0], [8], [9]), together(1, policy=policy, faults=faults)), 0)
    if policy is synchronous:
        assert ends == [1.0, 2.0, 3.0, 6.0, 9.0, 10.0, 11.0, 12.0, 13.0]
    else:  # the step from 3.0 on was planned at 2.0, that from 10.0 on at 7.0
        assert ends == [1.0, 2.0, 3.0, 4.0, 7.0, 10.0, 13.0, 14.0, 15.0]


def test_of_two_reasons_to_be_slow_the_worse_counts():
    faults = Faults([Fault("slow", 0, 0.5, 6.0, 2.0), Fault("slow", 0, 2.5, 1.0, 4.0)])
    ends = times(serve(traffic([0], [8], [5]), together(1, faults=faults)), 0)
    assert ends == [1.0, 3.0, 7.0, 8.0, 9.0]


def test_the_other_replica_is_as_fast_as_ever():
    faults = Faults([Fault("slow", 0, 0.0, 100.0, 3.0)])
    outcome = serve(traffic([0, 0], [8, 8], [3, 3]), together(faults=faults, router=RoundRobin()))
    assert times(outcome, 0) == [3.0, 6.0, 9.0]
    assert times(outcome, 1) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("end", [0, 1])
def test_a_thin_link_delays_a_transfer_by_what_it_lacks(end):
    """20 tokens at 10 tokens/s, half of that from 2.0 to 3.0: until 3.5 instead of 3.0, at either end."""
    faults = Faults([Fault("link", end, 2.0, 1.0, 2.0)])
    outcome = serve(traffic([0], [20], [2]), apart(faults=faults))
    assert times(outcome, 0) == [1.0, 4.5]
    assert transfers(outcome)[0][3:5] == (1.0, 3.5)


# Crashes at random


def random_crashes(seed, mtbf_s=4.0, router=None, n=60, repair_s=1.0):
    requests = traffic(np.arange(n) * 0.25, [8] * n, [6] * n)
    faults = Faults(mtbf_s=mtbf_s, repair_s=repair_s)
    return requests, together(3, router=router or RoundRobin(), faults=faults, cost=EvenCost(0.25), seed=seed)


def crash_times(monkeypatch, requests, deployment):
    seen = []
    crash = Cluster._crash
    with monkeypatch.context() as patch:
        patch.setattr(
            Cluster,
            "_crash",
            lambda self, each: (seen.append((each.index, self.clock.now)), crash(self, each))[1],
        )
        serve(requests, deployment)
    return seen


def test_random_crashes_are_the_same_with_the_same_seed(monkeypatch):
    one, two, other = (crash_times(monkeypatch, *random_crashes(seed)) for seed in (1, 1, 2))
    assert one == two != other
    assert {index for index, _ in one} == {0, 1, 2}
    tables = [serve(*random_crashes(1)).tables.tokens["generated_s"].tolist() for _ in range(2)]
    assert tables[0] == tables[1]


def test_crashes_draw_from_a_stream_of_their_own(monkeypatch):
    """Other draws do not change when they happen; that they may happen changes no other draw."""
    crashed = crash_times(monkeypatch, *random_crashes(1))
    routed = crash_times(monkeypatch, *random_crashes(1, router=Random()))
    shared = min(len(crashed), len(routed))
    assert shared > 3
    assert sorted(crashed[:shared]) == sorted(routed[:shared])
    never, without = random_crashes(1, 1e9, Random()), random_crashes(1, float("inf"), Random())
    assert not crash_times(monkeypatch, *copy.deepcopy(never))
    chosen = [serve(*each).tables.requests["replica"].tolist() for each in (never, without)]
    assert chosen[0] == chosen[1]


def test_the_mean_time_between_crashes_is_what_it_says(monkeypatch):
    n = 4000
    crashed = crash_times(monkeypatch, *random_crashes(3, n=n, repair_s=4.0))
    end_s = n * 0.25
    assert len(crashed) == pytest.approx(3 * end_s / (4.0 + 4.0), rel=0.1)


# The end


def test_a_run_ends_though_nothing_can_ever_be_served():
    """Crashes come faster than any step ends: every request fails after its retries."""
    n = 20
    requests = traffic(np.arange(n) * 0.5, [8] * n, [4] * n)
    for retries in (0, 5):
        faults = Faults(mtbf_s=0.05, repair_s=0.5, retries=retries)
        outcome = serve(requests, together(faults=faults))
        assert set(states(outcome)) == {RequestState.FAILED}
        assert got(outcome) == [0] * n
        assert outcome.stalled is None


def test_no_crash_comes_after_the_last_request(monkeypatch):
    requests, deployment = random_crashes(1)
    end_s = serve(*copy.deepcopy((requests, deployment))).end_s
    assert max(at_s for _, at_s in crash_times(monkeypatch, requests, deployment)) <= end_s


def test_a_horizon_in_the_midst_of_a_crash():
    faults = crashes((0, 1.5, 1000.0))
    outcome = serve(traffic([0, 2], [8, 8], [4, 4]), together(1, faults=faults, horizon_s=10.0))
    assert states(outcome) == [RequestState.UNFINISHED] * 2
    assert got(outcome) == [1, 0]
    assert outcome.end_s == 10.0


def test_a_fault_after_everything_is_over_does_not_matter():
    outcome = serve(traffic([0], [8], [2]), together(1, faults=crashes((0, 50.0, 1.0))))
    assert outcome.end_s == 2.0


def test_a_crash_at_a_replica_that_computes_nothing():
    outcome = serve(traffic([0], [8], [3]), together(faults=crashes((1, 1.5, 1.0))))
    assert times(outcome, 0) == [1.0, 2.0, 3.0]


def test_a_prompt_in_chunks_begins_anew():
    outcome = serve(traffic([0], [20], [2]), together(limits=Limits(64, 8, 4096, 1000, 16),
                    faults=crashes((0, 2.5, 9.0))))  # fmt: skip
    assert times(outcome, 0) == [5.5, 6.5]
    assert outcome.tables.requests["first_scheduled_s"].tolist() == [0.0]
