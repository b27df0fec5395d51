"""Blocks that are held for hand-overs: by what is sent early, and by what is not pulled in time."""

from functools import partial

import pytest

from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import Fault, Faults
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.cluster_cases import KV_BYTES
from tests.engine_cases import RaggedCost
from tests.small_clusters import (
    ROOMY,
    apart,
    decoded,
    serve,
    tight,
    times,
    traffic,
    transfers,
    used_blocks,
)

# Early


def test_what_is_sent_early_gives_way_to_what_waits_for_blocks():
    """A long prompt in chunks has set all blocks aside when a short one wants some: it is sent when it is done."""
    limits = (Limits(64, 8, 4096, 100, 4), tight(12))
    outcome = serve(traffic([0, 0.5], [40, 8], [2, 2]), decoded(limits=limits, early=True, speed=1000))
    assert outcome.tables.requests["state"].tolist() == [RequestState.COMPLETED] * 2
    sent = transfers(outcome)
    assert [each[0] for each in sent if each[6]] in ([0, 1], [1, 0])


def test_chunks_that_a_crash_or_a_preemption_undoes_are_sent_anew():
    faults = Faults([Fault("crash", 0, 1.5, 1.0)])
    limits = (Limits(64, 16, 4096, 1000, 16), ROOMY)
    outcome = serve(traffic([0], [32], [2]), decoded(limits=limits, early=True, speed=64, faults=faults))
    assert [(each[5], each[6]) for each in transfers(outcome)] == [(16.0, False), (32.0, True)]


# Held too long


@pytest.mark.parametrize(
    ("when_expired", "state", "tokens"),
    [("fail", RequestState.FAILED, 0), ("recompute", RequestState.COMPLETED, 3)],
)
def test_blocks_that_are_not_pulled_in_time_are_freed(when_expired, state, tokens):
    """The first one decodes until 13.0; the second one, whose prompt ends at 2.0, is held for five seconds."""
    rule = {"hold_s": 5.0, "when_expired": when_expired}
    limits = (tight(6), tight(3))
    requests = traffic([0, 0.5], [5, 9], [8, 3])
    outcome = serve(requests, decoded(limits=limits, speed=8, hand_over=rule))
    assert outcome.tables.requests["state"].tolist() == [RequestState.COMPLETED, state]
    assert outcome.tables.requests["delivered_tokens"].tolist() == [8, tokens]
    held = used_blocks(requests, decoded(limits=limits, speed=8, hand_over=rule), 0, [6.5, 7.5])
    assert held == [3, 0]


def test_what_is_being_pulled_is_not_freed():
    outcome = serve(traffic([0], [21], [3]), decoded(speed=1, hand_over={"hold_s": 5.0}))
    assert times(outcome, 0)[0] == 22.0


def test_what_no_decode_replica_can_take_is_freed_too():
    faults = Faults([Fault("crash", 1, 0.5, 20.0)])
    outcome = serve(traffic([0], [21], [3]), decoded(hand_over={"hold_s": 5.0}, faults=faults))
    assert outcome.tables.requests["state"].tolist() == [RequestState.FAILED]
    assert outcome.tables.requests["end_s"].tolist() == [6.0]


def test_a_replica_that_comes_back_has_to_be_connected_anew():
    faults = Faults([Fault("crash", 1, 6.5, 1.0)])
    costs = {"handshake_s": 3.0}
    outcome = serve(traffic([0, 20], [21, 21], [2, 2]), decoded(faults=faults, costs_of_link=costs))
    waits = outcome.tables.transfers["connected_s"] - outcome.tables.transfers["granted_s"]
    assert waits.tolist() == [0.0, 3.0]
    assert outcome.tables.transfers["bytes"][0] == KV_BYTES * 20


def test_a_job_that_lacks_what_waiting_jobs_hold_does_not_preempt_itself_for_ever():
    """It needs eight blocks of one token, of which the two that wait with their KV, for its seat, leave it seven."""
    quick = RaggedCost()
    one_seat = Limits(1, 1, 40, 42, 1)
    policy = partial(VllmV1, engine_version="0.11.0")
    requests = traffic([0.0] * 3, [2, 14, 20], [7, 2, 2])
    cluster = apart(policies=(policy, policy), limits=(one_seat, one_seat), costs=(quick, quick))
    outcome = serve(requests, cluster)
    assert outcome.stalled is None
    assert outcome.tables.requests["state"].tolist() == [RequestState.COMPLETED] * 3
