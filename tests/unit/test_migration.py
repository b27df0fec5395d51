"""The rules of the migration policies."""

import pytest

from policies.migration.llumnix import Llumnix
from policies.migration.tbt_chasing import TbtChasing
from policies.migration.token_slack import TokenSlack
from tests.policy_views import View, decoding, request


def crowd(first, n, **more):
    return [decoding(first + k, **more) for k in range(n)]


def test_llumnix_moves_the_shortest_from_the_fullest_to_the_emptiest():
    full = View(running=[*crowd(0, 8, prompt=300), decoding(8, prompt=200)], free=9)
    calm = View(running=crowd(20, 4), free=300)
    calmest = View(running=crowd(30, 4), free=400)
    assert Llumnix().moves([full, calm, calmest], 0.0) == [(full.running[8], 0, 2)]
    assert Llumnix().moves([calm, calmest, full], 0.0) == [(full.running[8], 2, 1)]


def test_llumnix_leaves_alone_who_has_enough():
    assert Llumnix().moves([View(running=crowd(0, 4), free=12), View(free=500)], 0.0) == []
    assert (
        Llumnix().moves([View(running=crowd(0, 4), free=11), View(running=crowd(9, 4), free=12)], 0.0) == []
    )
    assert (
        len(Llumnix().moves([View(running=crowd(0, 4), free=11), View(running=crowd(9, 4), free=30)], 0.0))
        == 1
    )
    assert Llumnix().moves([], 0.0) == []


def queued(*tokens):
    return [request(100 + k, prompt=each) for k, each in enumerate(tokens)]


def test_llumnix_counts_what_the_first_in_the_queue_will_take_as_used():
    crowded, other = crowd(0, 4), View(free=500)
    assert Llumnix().moves([View(running=crowded, free=100, waiting=queued(16 * 85)), other], 0.0) == []
    assert len(Llumnix().moves([View(running=crowded, free=100, waiting=queued(16 * 86)), other], 0.0)) == 1
    behind = View(running=crowded, free=100, waiting=queued(16, 16 * 500))
    assert Llumnix().moves([behind, other], 0.0) == []
    full = View(running=crowded, free=5)
    assert Llumnix().moves([full, View(free=500, waiting=queued(16 * 497))], 0.0) == []


def test_llumnix_keeps_headroom_for_urgent_requests():
    urgent = [decoding(0, priority=0), *crowd(1, 3, priority=1)]
    replicas = [View(running=urgent, free=40), View(running=crowd(9, 3, priority=1), free=40)]
    assert Llumnix().moves(replicas, 0.0) == []
    moves = Llumnix(headroom_blocks=30).moves(replicas, 0.0)
    assert [(move.job.priority, move.destination) for move in moves] == [(1, 1)]


def test_llumnix_empties_a_replica_that_is_to_go():
    going = View(running=crowd(0, 2), free=900, draining=True)
    assert [move.source for move in Llumnix().moves([View(free=50), going], 0.0)] == [1]
    assert Llumnix().moves([going, View(running=crowd(9, 1), free=0)], 0.0) == []
    assert Llumnix().moves([View(running=crowd(9, 1), free=0), going], 0.0) == []


def test_llumnix_moves_the_least_urgent_first():
    urgent, other = decoding(0, prompt=50, priority=0), decoding(1, prompt=500, priority=1)
    moves = Llumnix().moves([View(running=[urgent, other], free=0), View()], 0.0)
    assert [move.job for move in moves] == [other]


def test_llumnix_does_not_overfill_the_receiver():
    full = View(running=[decoding(0, prompt=16 * 20 - 10)], free=0)  # 20 blocks with its 10 tokens
    assert Llumnix().moves([full, View(free=22)], 0.0) == []
    assert len(Llumnix().moves([full, View(free=23)], 0.0)) == 1  # and 3 are left
    reserved = decoding(1, prompt=10)
    reserved.reserved, reserved.blocks = True, 21
    assert Llumnix().moves([View(running=[reserved], free=0), View(free=23)], 0.0) == []


def test_llumnix_pairs_each_replica_once():
    replicas = [View(running=crowd(10 * k, 4), free=k) for k in range(3)] + [View(free=50), View(free=60)]
    moves = Llumnix().moves(replicas, 0.0)
    assert [(move.source, move.destination) for move in moves] == [(0, 4), (1, 3)]


MIGRATIONS = [Llumnix, TbtChasing, TokenSlack]


def in_need(running):
    """A replica that every migration policy moves a request away from."""
    late = request(99, -100.0)  # computes its prompt, so it cannot be moved itself
    return View(running=[late, *running], free=0, step_s=0.2)


def ahead(number, **more):
    return decoding(number, pace_s=10.0, **more)


@pytest.mark.parametrize("policy", MIGRATIONS)
def test_only_who_decodes_and_has_more_to_come_is_moved(policy):
    prompt, last = request(0, pace_s=10.0), ahead(1, tokens=50)
    assert last.completing
    assert policy().moves([in_need([prompt, last]), View()], 0.0) == []
    fine = ahead(2)
    assert policy().moves([in_need([prompt, last, fine]), View()], 0.0) == [(fine, 0, 1)]


@pytest.mark.parametrize("policy", MIGRATIONS)
def test_no_request_is_moved_to_where_there_is_no_room(policy):
    assert policy().moves([in_need([ahead(0, prompt=900)]), View(free=56, total=100)], 0.0) == []
    assert policy().moves([in_need([ahead(0)]), in_need([ahead(1)])], 0.0) == []
    assert policy().moves([in_need([ahead(0)])], 0.0) == []


@pytest.mark.parametrize("policy", MIGRATIONS)
def test_who_has_been_moved_is_left_alone_for_a_while(policy):
    moving, one, other = policy(cooldown_s=2.0), ahead(0), ahead(1)
    replicas = [in_need([one, other]), View()]
    first = [moving.moves(replicas, time_s) for time_s in (10.0, 10.5, 11.0)]
    assert sorted(move.job.id for moves in first for move in moves) == [0, 1]
    assert first[2] == []
    assert len(moving.moves(replicas, 12.0)) == 1


def test_tbt_chasing_looks_at_steps_only():
    late = decoding(0, arrival_s=-100.0)
    assert TbtChasing(tbt_s=0.1).moves([View(running=[late], free=0, step_s=0.1), View()], 0.0) == []
    comfortable = [ahead(0), ahead(1, prompt=300)]
    slow, quick = View(running=comfortable, step_s=0.11), View(running=crowd(10, 2), step_s=0.02)
    slower = View(running=crowd(20, 2), step_s=0.09)
    assert TbtChasing(tbt_s=0.1).moves([slow, slower, quick], 0.0) == [(comfortable[1], 0, 2)]


def test_tbt_chasing_sends_no_request_to_a_replica_that_is_slow_itself():
    slow, slower = View(running=crowd(0, 2), step_s=0.2), View(running=crowd(9, 2), step_s=0.3)
    assert TbtChasing(tbt_s=0.1).moves([slow, slower], 0.0) == []
    idle = View(step_s=0.5)  # what its last step took is past
    moves = TbtChasing(tbt_s=0.1).moves([slow, idle, slower], 0.0)
    assert [(move.source, move.destination) for move in moves] == [(0, 1)]  # one newcomer at a time


def test_token_slack_moves_only_readers_who_will_not_notice():
    late = decoding(0, arrival_s=-10.0)  # due in the past
    close = decoding(1, tokens=20, arrival_s=-1.0, pace_s=0.05)  # due at 0.05
    far = decoding(2, tokens=20, arrival_s=-1.0, pace_s=0.06)  # due at 0.26
    farther = decoding(3, tokens=20, arrival_s=-1.0, pace_s=0.1)  # due at 1.1
    policy = TokenSlack(stall_s=0.2)
    assert policy.moves([View(running=[late, close]), View()], 0.0) == []
    assert policy.moves([View(running=[late, close, far]), View()], 0.0) == [(far, 0, 1)]
    assert TokenSlack().moves([View(running=[late, farther, far]), View()], 0.0) == [(farther, 0, 1)]


def test_token_slack_moves_no_request_without_need():
    on_time = View(running=[ahead(0), ahead(1)], free=50, step_s=5.0)
    assert TokenSlack().moves([on_time, View()], 0.0) == []
    on_time.free_blocks = 49  # less than 5 %
    assert len(TokenSlack().moves([on_time, View()], 0.0)) == 1


def test_token_slack_leaves_the_receiver_some_memory():
    needy = in_need([ahead(0)])  # 7 blocks
    assert TokenSlack().moves([needy, View(free=11, total=100)], 0.0) == []
    assert len(TokenSlack().moves([needy, View(free=12, total=100)], 0.0)) == 1


def test_token_slack_prefers_the_emptiest_and_moves_one_to_each():
    replicas = [in_need([ahead(0)]), View(free=300), in_need([ahead(1)]), View(free=500)]
    moves = TokenSlack().moves(replicas, 0.0)
    assert [(move.source, move.destination) for move in moves] == [(0, 3), (2, 1)]
