"""Live migration: what is copied when, how long a request stands still, and what calls a move off."""

import numpy as np
import pytest

from policies.migration.llumnix import Llumnix
from policies.migration.none import Stay
from policies.migration.tbt_chasing import TbtChasing
from policies.migration.token_slack import TokenSlack
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import Fault, Faults
from simulator.cluster.migrations import LAST_TOKENS, MOST_STAGES
from simulator.replica.request import RequestState
from tests.engine_cases import EvenCost
from tests.small_clusters import (
    First,
    MoveOnce,
    places,
    serve,
    tight,
    times,
    together,
    traffic,
    transfers,
)

# A prompt of 47 tokens, moved at 2.5 at 24 tokens/s. What is computed and delivered by then, 48 tokens, takes
# until 4.5; the step in flight ends at 5.0, and the three tokens of the steps since then take 0.125 s more.
ONE = {"prompts": [47], "outputs": [9]}


def one(**more):
    return traffic([0], ONE["prompts"], ONE["outputs"], **more)


def move(**more):
    return together(migration=MoveOnce(2.5), **more)


def crash(replica, at_s):
    return Faults([Fault("crash", replica, at_s, 50.0)])


def test_a_request_decodes_on_while_it_is_copied():
    outcome = serve(one(), move())
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.125, 7.125, 8.125, 9.125]
    assert places(outcome, 0) == [0] * 5 + [1] * 4
    assert transfers(outcome) == [(0, 0, 1, 2.5, 5.125, 51.0, True)]
    assert outcome.tables.transfers["kind"].tolist() == ["migration"]
    requests = outcome.tables.requests
    assert requests["preemptions"].tolist() == [0]
    assert requests["replica"].tolist() == [1]


def test_it_stands_still_for_the_last_tokens_only():
    gaps = np.diff(times(serve(one(), move()), 0))
    standstill_s, all_of_it_s = gaps.max() - 1.0, 51 / 24
    assert standstill_s == 3 / 24
    assert standstill_s < LAST_TOKENS / 24 < all_of_it_s
    assert np.sort(gaps)[:-1].tolist() == [1.0] * 7


@pytest.mark.parametrize("policy", [VllmV1, Sglang])
def test_the_token_in_flight_is_waited_for_with_asynchronous_scheduling(policy):
    """The step after is planned already when the copy is there, so it gives a fourth token."""
    outcome = serve(one(), move(policy=policy))
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, *(6 + 4 / 24 + np.arange(1, 4))]
    assert places(outcome, 0) == [0] * 6 + [1] * 3
    assert transfers(outcome)[0][5] == 52.0


def test_a_long_copy_takes_several_stages():
    """At 8 tokens/s of decoding and 32 of copying each stage is a quarter of the one before.

    128 tokens from 0.3125 to 4.3125, 32 more to 5.3125; of the 9 more at the end of that step it stands still.
    """
    outcome = serve(
        traffic([0], [127], [100]), together(migration=MoveOnce(0.3125), speed=32, cost=EvenCost(0.125))
    )
    assert transfers(outcome) == [(0, 0, 1, 0.3125, 5.65625, 169.0, True)]
    gaps = np.sort(np.diff(times(outcome, 0)))
    assert gaps[-2:].tolist() == [0.125, 0.125 + 9 / 32]


def test_a_copy_that_does_not_catch_up_stops_after_so_many_stages():
    """Decoding is as fast as copying, so that every stage is as long as the first: 64 tokens in 8 seconds."""
    outcome = serve(
        traffic([0], [63], [800]), together(migration=MoveOnce(0.3125), speed=8, cost=EvenCost(0.125))
    )
    stops_s, rest = 0.375 + MOST_STAGES * 8, 65
    sent = MOST_STAGES * 64 + rest
    assert transfers(outcome) == [(0, 0, 1, 0.3125, stops_s + rest / 8, sent, True)]
    assert np.diff(times(outcome, 0)).max() == 0.125 + rest / 8


def test_blocks_are_held_on_both_sides_while_it_moves():
    seen = []

    def look(cluster):
        seen.append([each.engine.total_blocks - each.engine.free_blocks for each in cluster.replicas])

    limits = tight(20)
    serve(one(), move(limits=limits), dict.fromkeys([2.4, 2.6, 4.6, 5.1, 5.2, 9.2], look))
    # 47 tokens and those of the steps: 12 blocks, 13 from 49 tokens on
    assert seen == [[13, 0], [13, 13], [13, 13], [13, 13], [0, 13], [0, 0]]


# Called off


def test_a_request_that_is_done_before_its_copy_stays():
    outcome = serve(traffic([0], [47], [4]), move())
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0]
    assert transfers(outcome) == [(0, 0, 1, 2.5, 4.5, 48.0, False)]


def test_a_request_whose_last_token_is_in_flight_stays():
    """When all has been copied, at 4.5, the step that ends at 5.0 computes its last token."""
    outcome = serve(traffic([0], [47], [5]), move())
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert transfers(outcome)[0][4:] == (4.5, 48.0, False)


@pytest.mark.parametrize(("speed", "copied_s"), [(4, 11.0), (1, 21.5)], ids=["queued", "decoding again"])
def test_a_request_preempted_meanwhile_is_not_moved(speed, copied_s):
    """Both decode until at 9.0 there is no block more; the later one gives way, and its copy is worth nothing."""
    policy = MoveOnce(7.5, request=1)
    deployment = together(limits=tight(8), migration=policy, speed=speed)
    outcome = serve(traffic([0, 0], [8, 8], [20, 20]), deployment)
    requests = outcome.tables.requests
    assert requests["preemptions"].tolist() == [0, 1]
    assert requests["state"].tolist() == [RequestState.COMPLETED] * 2
    assert places(outcome, 1) == [0] * 20
    assert transfers(outcome) == [(1, 0, 1, 7.5, copied_s, 14.0, False)]


def test_a_client_that_leaves_during_the_copy_ends_it():
    outcome = serve(one(leave_s=[3.25]), move())
    requests = outcome.tables.requests
    assert requests["state"].tolist() == [RequestState.ABANDONED_BY_USER]
    assert transfers(outcome) == [(0, 0, 1, 2.5, 3.25, 18.0, False)]
    assert set(places(outcome, 0)) == {0}


def test_a_client_that_leaves_while_the_request_stands_still_ends_it_at_once():
    outcome = serve(one(leave_s=[5.0625]), move())
    requests = outcome.tables.requests
    assert requests["state"].tolist() == [RequestState.ABANDONED_BY_USER]
    assert requests["end_s"].tolist() == [5.0625]
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_request_whose_destination_crashes_stays():
    outcome = serve(one(), move(faults=crash(1, 3.25)))
    assert times(outcome, 0) == [float(i) for i in range(1, 10)]
    assert places(outcome, 0) == [0] * 9
    assert transfers(outcome) == [(0, 0, 1, 2.5, 3.25, 18.0, False)]


def test_a_request_that_stands_still_when_its_destination_crashes_goes_on_where_it_was():
    outcome = serve(one(), move(faults=crash(1, 5.0625)))
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0625, 7.0625, 8.0625, 9.0625]
    assert places(outcome, 0) == [0] * 9


@pytest.mark.parametrize(
    ("at_s", "kept"),
    [(3.25, [1.0, 2.0, 3.0]), (5.0625, [1.0, 2.0, 3.0, 4.0, 5.0])],
    ids=["copied", "standing still"],
)
def test_a_request_whose_source_crashes_is_computed_again(at_s, kept):
    """What had been copied is lost with the rest: its prompt and tokens are one prompt at the other replica."""
    outcome = serve(one(), move(faults=crash(0, at_s)))
    assert times(outcome, 0) == kept + [at_s + i for i in range(1, 10 - len(kept))]
    assert places(outcome, 0) == [0] * len(kept) + [1] * (9 - len(kept))
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 1].max() == 47 + len(kept)
    assert [each[6] for each in transfers(outcome)] == [False]


def test_no_room_at_the_destination_no_move():
    requests = traffic([0, 0], [8, 8], [9, 9])

    class Other(First):
        def route(self, job, replicas, draw):
            return job.id  # one each

    policy = MoveOnce(2.5)
    outcome = serve(requests, together(limits=tight(5), router=Other(), migration=policy))
    assert transfers(outcome) == []
    assert [set(places(outcome, i)) for i in range(2)] == [{0}, {1}]


def test_a_request_that_grows_beyond_what_is_free_at_the_destination_stays():
    """13 blocks are set aside for it; when those are copied it has 54 tokens, and the other one has the rest."""

    class Other(First):
        def route(self, job, replicas, draw):
            return job.id  # one each

    requests = traffic([0, 0], [48, 20], [9, 9])
    deployment = together(limits=tight(20), policy=VllmV1, router=Other(), migration=MoveOnce(2.5))
    outcome = serve(requests, deployment)
    assert transfers(outcome) == [(0, 0, 1, 2.5, 2.5 + 49 / 24, 49.0, False)]
    assert times(outcome, 0) == [float(i) for i in range(1, 10)]
    assert places(outcome, 0) == [0] * 9


# Policies


def idle_s(outcome, request, pace_s):
    """How long a reader waits in all who takes a token every ``pace_s`` seconds from the first due time on."""
    arrival_s = outcome.tables.requests["arrival_s"][request]
    waited_s, needed_s = 0.0, arrival_s + pace_s
    for token_s in times(outcome, request):
        waited_s += max(0.0, token_s - needed_s)
        needed_s = max(needed_s, token_s) + pace_s
    return waited_s


class ByDecodes:
    """Steps as long as there are requests in them."""

    def step_s(self, shape):
        return 0.02 * (shape.decode_seqs + shape.prefill_seqs)


def three_readers(migration):
    """Three at one replica, each a little ahead of a pace of 70 ms, while the other has nothing to do."""
    deployment = together(cost=ByDecodes(), migration=migration, speed=60, pace_s=0.07)
    return serve(traffic([0, 0, 0], [20, 20, 20], [100, 100, 100]), deployment)


def test_chasing_the_time_between_tokens_moves_readers_who_lose_by_it():
    """Steps of 60 ms are beyond 50 ms, though in time for every reader; a standstill is not (arXiv 2410.14257)."""
    stay, chase, slack = (three_readers(policy) for policy in (Stay(), TbtChasing(), TokenSlack()))
    assert transfers(stay) == transfers(slack) == []
    moved = [each[0] for each in transfers(chase) if each[6]]
    assert len(moved) >= 1
    for outcome in (stay, slack):
        assert [idle_s(outcome, i, 0.07) for i in range(3)] == [0.0] * 3
    assert idle_s(chase, moved[0], 0.07) > 0.3
    # though it does what it is for
    assert np.median(np.diff(times(chase, 0))) < np.median(np.diff(times(stay, 0)))


def test_slack_moves_the_reader_who_is_far_ahead_when_another_is_late():
    """Steps of 80 ms are late for a pace of 70 ms, except for a request that has been ahead since it was alone."""
    requests = traffic([0, 2, 2, 2], [20] * 4, [200, 60, 60, 60])
    outcomes = {}
    for policy in (Stay(), TokenSlack(interval_s=0.1)):
        deployment = together(cost=ByDecodes(), migration=policy, speed=200, pace_s=0.07)
        outcomes[type(policy)] = serve(requests, deployment)
    moved = [each[0] for each in transfers(outcomes[TokenSlack]) if each[6]]
    assert moved[0] == 0
    assert idle_s(outcomes[TokenSlack], 0, 0.07) == 0.0
    late = {policy: sum(idle_s(each, i, 0.07) for i in range(1, 4)) for policy, each in outcomes.items()}
    assert late[TokenSlack] < 0.5 * late[Stay]


def test_llumnix_levels_memory():
    """Without it the replica that all requests go to preempts; with it none has to."""
    requests = traffic(np.arange(6) * 0.5, [16] * 6, [60] * 6)
    counts = {}
    for policy in (Stay(), Llumnix(interval_s=0.5, send_below=3.0, receive_above=6.0)):
        deployment = together(limits=tight(70), cost=EvenCost(0.125), migration=policy, speed=10_000)
        outcome = serve(requests, deployment)
        counts[type(policy)] = int(outcome.tables.requests["preemptions"].sum())
    assert counts[Stay] > 0
    assert counts[Llumnix] == 0


def test_looks_go_on_during_steps_longer_than_the_interval():
    """Nothing is planned from one look to the next, but a step is in flight."""
    policy = MoveOnce(0.375, look=8)  # at 3.0, the fourth step being in flight
    outcome = serve(one(), together(migration=policy))
    assert policy.looks_s[:8] == [0.375 * (i + 1) for i in range(8)]
    assert places(outcome, 0)[-1] == 1


def test_a_move_that_is_called_off_while_the_request_is_being_stopped_costs_no_time():
    """From 4.5 on it is to leave after the step that ends at 5.0; at 4.75 there is nowhere left to go."""
    outcome = serve(one(), move(faults=crash(1, 4.75)))
    assert transfers(outcome) == [(0, 0, 1, 2.5, 4.75, 48.0, False)]
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert places(outcome, 0) == [0] * 9
