"""The rules of the policies around scheduling: who serves, who is let in, dropped or moved, when tokens come."""

import math
import random
import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.abandonment.missed_slo import MissedSlo
from policies.admission.early_reject import EarlyReject
from policies.admission.queue_cap import QueueCap
from policies.admission.token_bucket import TokenBucket
from policies.delivery.batched import Batched
from policies.delivery.jitter import Jitter
from policies.delivery.paced import Paced
from policies.migration.llumnix import Llumnix
from policies.migration.tbt_chasing import TbtChasing
from policies.migration.token_slack import TokenSlack
from policies.roles.by_load import ByLoad
from policies.routing.prefix_affinity import PrefixAffinity
from policies.routing.random import Random
from policies.routing.round_robin import RoundRobin
from policies.routing.session_affinity import SessionAffinity
from policies.routing.slo_aware import SloAware
from simulator.errors import InputError
from simulator.scenario.discover import complete, discover, load
from simulator.testing import new_job

DOCS = Path(__file__).parent.parent.parent / "docs"


class View:
    """A replica as a policy sees it, with what a test says of it."""

    def __init__(
        self,
        load=0,
        *,
        cached=0,
        ttft_s=0.0,
        waiting=0,
        running=(),
        free=1000,
        total=1000,
        step_s=0.0,
        queued=0,
    ):
        self.running = list(running)
        self.outstanding_tokens = load + queued + sum(job.known_tokens for job in self.running)
        self.waiting_requests = waiting
        self.free_blocks, self.total_blocks, self.block_size = free, total, 16
        self.last_step_s = step_s
        self._cached, self._ttft_s = cached, ttft_s

    def cached_tokens(self, job):
        return self._cached

    def predicted_ttft_s(self, job):
        return self._ttft_s


def request(number=0, arrival_s=0.0, prompt=100, **more):
    return new_job(number, arrival_s, prompt, 50, 50, **more)


def decoding(number, *, prompt=100, tokens=10, arrival_s=0.0, **more):
    """A job that has ``tokens`` of its 50 tokens and decodes."""
    job = request(number, arrival_s, prompt, **more)
    job.generated, job.computed = tokens, prompt + tokens - 1
    assert job.decodes
    return job


# Routing


def test_random_uses_every_replica_about_evenly():
    draw = random.Random(1)
    chosen = [Random().route(request(), [View()] * 4, draw) for _ in range(4000)]
    counts = np.bincount(chosen, minlength=4)
    assert (abs(counts - 1000) < 120).all()


def test_round_robin_survives_a_crash():
    router = RoundRobin()
    assert [router.route(request(), [View()] * 3, None) for _ in range(3)] == [0, 1, 2]
    assert [router.route(request(), [View()] * 2, None) for _ in range(3)] == [1, 0, 1]
    router = RoundRobin()
    for size in (5, 5, 5, 5, 2, 1, 3):
        assert router.route(request(), [View()] * size, None) in range(size)


@pytest.mark.parametrize("name", ["random", "round_robin"])
def test_who_does_not_look_at_load_says_so(name):
    assert load("routing", name).looks_at_load is False


@pytest.mark.parametrize("name", sorted(set(discover("routing")) - {"random", "round_robin"}))
def test_who_looks_at_load_is_asked_at_every_arrival(name):
    assert getattr(load("routing", name), "looks_at_load", True)


@pytest.mark.parametrize(
    ("replicas", "chosen"),
    [
        ([View(10, cached=0), View(0, cached=0)], 1),  # nothing cached: the least loaded
        ([View(100, cached=80), View(0, cached=50)], 0),  # the longest match
        ([View(100, cached=80), View(90, cached=80)], 1),  # the less loaded of equals
        ([View(100, cached=29), View(0, cached=0)], 1),  # too little of the prompt
        ([View(100, cached=30), View(0, cached=0)], 0),
        ([View(1101, cached=80), View(100, cached=0)], 1),  # overloaded
        ([View(1100, cached=80), View(100, cached=0)], 0),  # not by enough tokens
        ([View(4000, cached=80), View(2500, cached=0)], 1),
        ([View(4000, cached=80), View(2700, cached=0)], 0),  # not by enough times
        ([View(9000, cached=0), View(1000, cached=80), View(900, cached=0)], 1),  # somebody else is
    ],
)
def test_prefix_affinity(replicas, chosen):
    assert PrefixAffinity(imbalance_tokens=1000).route(request(prompt=100), replicas, None) == chosen


def test_sessions_stick_to_the_replica_of_their_first_request():
    router, replicas = SessionAffinity(), [View(5), View(3), View(9)]
    assert router.route(request(session=7), replicas, None) == 1
    replicas[1].outstanding_tokens = 100
    assert router.route(request(session=7), replicas, None) == 1
    assert router.route(request(session=8), replicas, None) == 0
    assert router.route(request(), replicas, None) == 0
    replicas[2].outstanding_tokens = 0
    assert router.route(request(), replicas, None) == 2  # no session, nothing to remember


def test_a_session_whose_replica_is_down_moves_and_stays():
    router, replicas = SessionAffinity(), [View(5), View(9), View(3)]
    assert router.route(request(session=1), replicas, None) == 2
    assert router.route(request(session=1), replicas[1:], None) == 1  # same replica, another index
    assert router.route(request(session=1), replicas[:2], None) == 0
    assert router.route(request(session=1), replicas, None) == 0


def test_slo_aware_takes_the_soonest_first_token():
    replicas = [View(0, ttft_s=2.0), View(50, ttft_s=1.0), View(40, ttft_s=1.0), View(40, ttft_s=1.0)]
    assert SloAware().route(request(), replicas, None) == 2


# Admission


def test_queue_cap_counts_those_who_wait():
    policy = QueueCap(max_waiting=2)
    assert policy.admit(request(), View(waiting=1), 0.0, None)
    assert not policy.admit(request(), View(waiting=2), 0.0, None)


def test_early_reject_looks_at_the_predicted_first_token():
    policy = EarlyReject(ttft_s=2.0)
    assert policy.admit(request(arrival_s=5.0), View(ttft_s=2.0), 5.0, None)
    assert not policy.admit(request(arrival_s=5.0), View(ttft_s=2.1), 5.0, None)
    assert not policy.admit(
        request(arrival_s=5.0), View(ttft_s=1.5), 6.0, None
    )  # it has waited a second already


def test_a_token_bucket_empties_and_fills():
    policy = TokenBucket(rate_tokens_per_s=100.0, burst_tokens=250.0, count="prompt")

    def asked(now_s, prompt=100):
        return policy.admit(request(prompt=prompt), View(), now_s, None)

    assert [asked(1.0), asked(1.0), asked(1.0)] == [True, True, False]
    assert not asked(1.4)  # 90 tokens
    assert asked(1.5)  # 100: those who were refused took none
    assert not asked(1000.0, 251)  # it holds 250 at most
    assert asked(1000.0, 250)


def test_a_token_bucket_counts_predictions_and_tenants():
    job = request(prompt=100, predicted_tokens=30)
    assert TokenBucket(burst_tokens=130.0).admit(job, View(), 0.0, None)
    assert not TokenBucket(burst_tokens=129.0).admit(job, View(), 0.0, None)
    one, other = request(prompt=100, tenant=1), request(prompt=100, tenant=2)
    for per_tenant in (False, True):
        policy = TokenBucket(1.0, 100.0, "prompt", per_tenant)
        assert policy.admit(one, View(), 0.0, None)
        assert policy.admit(other, View(), 0.0, None) is per_tenant
        assert not policy.admit(one, View(), 0.0, None)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=50))
def test_a_token_bucket_never_lets_in_more_than_rate_and_burst(arrivals):
    policy, now_s, let_in = TokenBucket(50.0, 400.0, "prompt"), 0.0, 0
    for gap_s, prompt in arrivals:
        now_s += gap_s
        let_in += prompt * policy.admit(request(prompt=prompt), View(), now_s, None)
        assert let_in <= 400.0 + 50.0 * now_s + 1e-6


# Abandonment


def test_missed_slo_takes_the_first_bound_to_pass():
    fresh = request(arrival_s=10.0, pace_s=0.1, allowance_s=1.0)  # tokens due at 11.1, 11.2, ...
    served = decoding(0, arrival_s=10.0, tokens=9, pace_s=0.1, allowance_s=1.0)  # the next at 12.0
    assert MissedSlo(ttft_s=2.0).drop_s(fresh, 0) == 12.0
    assert MissedSlo(ttft_s=2.0).drop_s(served, 9) == math.inf
    assert MissedSlo(e2e_s=30.0).drop_s(fresh, 0) == MissedSlo(e2e_s=30.0).drop_s(served, 9) == 40.0
    late = MissedSlo(token_deadlines=True)
    assert late.drop_s(fresh, 0) == pytest.approx(11.1)
    assert late.drop_s(served, 9) == pytest.approx(12.0)
    assert MissedSlo(token_deadlines=True, grace_s=0.5).drop_s(served, 9) == pytest.approx(12.5)
    every = MissedSlo(ttft_s=0.5, e2e_s=1.5, token_deadlines=True)
    assert every.drop_s(fresh, 0) == 10.5
    assert every.drop_s(served, 9) == 11.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs at least one of ttft_s, e2e_s, token_deadlines"),
        ({"grace_s": 1.0}, "needs at least one"),
        ({"ttft_s": 1.0, "grace_s": 1.0}, "grace_s is for token_deadlines"),
    ],
)
def test_missed_slo_needs_a_bound(options, message):
    with pytest.raises(InputError, match=f"policy.abandonment: .*{message}"):
        complete("abandonment", "missed_slo", options)


# Delivery

GAPS = st.lists(
    st.lists(st.one_of(st.just(0.001), st.floats(0.001, 0.5)), min_size=1, max_size=30),
    min_size=1,
    max_size=8,
)
ROWS = st.builds(
    lambda rows, first: [first * k + np.cumsum(row) for k, row in enumerate(rows)], GAPS, st.floats(-3, 1000)
).map(lambda rows: [row - min(0.0, row[0]) for row in rows])


def deliver(policy, rows, seed=0):
    """Deliver rows of times; return rows."""
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]]).astype(np.int64)
    generated_s = np.concatenate(rows)
    generated_s.flags.writeable = starts.flags.writeable = False
    times = policy.deliver(generated_s, starts, np.random.default_rng(seed))
    assert times.dtype == np.float64
    return np.split(times, starts[1:])


POLICIES = [
    Paced(0.05),
    Paced(0.2, 1.5),
    Jitter(0.1, 0.3),
    Jitter(0.0, 0.3, "lognormal", 2.0),
    Batched(1),
    Batched(4),
    load("delivery", "immediate")(),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: repr(each).split(" object")[0])
@given(rows=ROWS)
def test_no_token_is_delivered_before_it_is_there_or_out_of_turn(policy, rows):
    for row, delivered in zip(rows, deliver(policy, rows), strict=True):
        assert (delivered >= row).all()
        assert (np.diff(delivered) >= 0).all()


@given(ROWS, st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from([0.0, 0.1, 2.0]))
def test_paced_is_the_plain_loop(rows, gap_s, hold_s):
    for row, delivered in zip(rows, deliver(Paced(gap_s, hold_s), rows), strict=True):
        expected = [row[0] + hold_s]
        for time_s in row[1:]:
            expected.append(max(time_s, expected[-1] + gap_s))
        assert delivered[0] == expected[0]
        assert delivered == pytest.approx(np.array(expected), abs=1e-9)
        assert (np.diff(delivered) >= gap_s - 1e-9).all()


def test_holding_the_first_token_hides_a_later_stall():
    row = np.array([1.0, 1.1, 1.2, 2.0, 2.1])
    assert deliver(Paced(0.25, 0.0), [row])[0] == pytest.approx([1.0, 1.25, 1.5, 2.0, 2.25])
    assert deliver(Paced(0.25, 0.25), [row])[0] == pytest.approx([1.25, 1.5, 1.75, 2.0, 2.25])


@given(ROWS, st.sampled_from([0.0, 0.25]))
def test_jitter_of_zero_is_a_constant_shift(rows, delay_s):
    for distribution in ("exponential", "lognormal"):
        for row, delivered in zip(rows, deliver(Jitter(delay_s, 0.0, distribution), rows), strict=True):
            assert (delivered == row + delay_s).all()


@pytest.mark.parametrize("distribution", ["exponential", "lognormal"])
def test_jitter_has_the_mean_it_was_given(distribution):
    rows = [np.array([float(k)]) for k in range(40_000)]  # nobody to wait for
    late_s = np.concatenate(deliver(Jitter(0.5, 0.1, distribution, 0.8), rows)) - np.arange(40_000)
    assert late_s.mean() == pytest.approx(0.6, rel=0.01)
    assert late_s.min() >= 0.5
    again = np.concatenate(deliver(Jitter(0.5, 0.1, distribution, 0.8), rows)) - np.arange(40_000)
    assert (late_s == again).all()


@given(ROWS, st.integers(0, 5))
def test_jitter_is_the_plain_loop(rows, seed):
    n = sum(map(len, rows))
    delays = iter(np.random.default_rng(seed).exponential(0.3, n).tolist())
    for row, delivered in zip(rows, deliver(Jitter(0.1, 0.3), rows, seed), strict=True):
        last_s, expected = -math.inf, []
        for time_s in row:
            last_s = max(last_s, time_s + (0.1 + next(delays)))
            expected.append(last_s)
        assert delivered.tolist() == expected


def test_batched_sends_the_first_token_at_once_and_the_rest_in_pieces():
    rows = [np.arange(1.0, 9.0), np.array([50.0]), np.arange(20.0, 24.0)]
    one, two, three = deliver(Batched(3), rows)
    assert one.tolist() == [1, 4, 4, 4, 7, 7, 7, 8]
    assert two.tolist() == [50]
    assert three.tolist() == [20, 23, 23, 23]
    assert [row.tolist() for row in deliver(Batched(1), rows)] == [row.tolist() for row in rows]


def test_a_run_without_tokens_is_delivered_too():
    none = np.zeros(0)
    for policy in POLICIES:
        assert len(policy.deliver(none, np.zeros(0, np.int64), np.random.default_rng(0))) == 0


# Migration


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
    assert Llumnix().moves([View(running=crowd(0, 4), free=11), View(free=20)], 0.0) == []
    assert len(Llumnix().moves([View(running=crowd(0, 4), free=11), View(free=21)], 0.0)) == 1
    assert Llumnix().moves([], 0.0) == []


def test_llumnix_counts_what_is_queued_as_used():
    short = View(running=crowd(0, 4), free=100, queued=16 * 89)
    assert len(Llumnix().moves([short, View(free=500)], 0.0)) == 1
    assert Llumnix().moves([short, View(free=500, queued=16 * 490)], 0.0) == []


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
    """A replica that every migration policy moves somebody away from."""
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
def test_nobody_is_moved_to_where_there_is_no_room(policy):
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


def test_tbt_chasing_sends_nobody_to_a_replica_that_is_slow_itself():
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


def test_token_slack_moves_nobody_without_need():
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


# Roles


def test_by_load_gives_the_overloaded_side_the_other_ones_least_loaded():
    busy, quiet = View(20_000), View(100)
    full, half, empty = View(900, free=50), View(700, free=500), View(0, free=1000)
    assert ByLoad().switch([busy], [half, empty], 0.0) is empty
    assert ByLoad().switch([busy, quiet], [half, empty], 0.0) is None  # 10,050 each
    assert ByLoad().switch([quiet, View(50)], [full], 0.0).outstanding_tokens == 50
    assert ByLoad().switch([quiet, quiet], [half], 0.0) is None


def test_by_load_leaves_no_side_empty_and_none_short():
    busy, full = View(20_000), View(900, free=50)
    assert ByLoad().switch([busy], [View()], 0.0) is None
    assert ByLoad().switch([View()], [full], 0.0) is None
    assert ByLoad().switch([busy], [full, View(free=100)], 0.0) is None  # one could not hold it all
    assert ByLoad().switch([View(16_000), View(16_000)], [full], 0.0) is None


def test_by_load_waits_between_changes():
    policy, prefill, decode = ByLoad(cooldown_s=30.0), [View(90_000)], [View(), View(), View()]
    assert policy.switch(prefill, decode, 100.0) is decode[0]
    assert policy.switch(prefill, decode, 129.0) is None
    assert policy.switch(prefill, decode, 130.0) is decode[0]


# Parameters and pages


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        (
            "routing",
            "prefix_affinity",
            {"imbalance_ratio": 0.0},
            "imbalance_ratio: expected a finite number > 0",
        ),
        ("routing", "random", {"seed": 1}, "random has no parameters"),
        ("admission", "queue_cap", {"max_waiting": 0}, "max_waiting: expected a finite number > 0"),
        ("admission", "token_bucket", {"count": "words"}, "count: expected 'prompt' or 'total'"),
        ("admission", "early_reject", {"ttft_s": math.nan}, "ttft_s: expected a finite number > 0"),
        ("abandonment", "missed_slo", {"e2e_s": -1.0}, "e2e_s: expected a finite number >= 0"),
        ("delivery", "paced", {"gap_s": 0.0}, "gap_s: expected a finite number > 0"),
        (
            "delivery",
            "jitter",
            {"distribution": "normal"},
            "distribution: expected 'exponential' or 'lognormal'",
        ),
        ("delivery", "batched", {"tokens": 2.5}, "tokens: expected a valid integer"),
        ("migration", "llumnix", {"send_below": 30.0}, "send_below has to be less than receive_above"),
        ("migration", "llumnix", {"resting": 1}, "no such parameter"),
        ("migration", "tbt_chasing", {"tbt_s": 0.0}, "tbt_s: expected a finite number > 0"),
        ("migration", "token_slack", {"short_share": 1.0}, "short_share is a share"),
        ("roles", "by_load", {"decode_kv_share": 1.5}, "decode_kv_share is a share"),
    ],
)
def test_parameters_are_refused(kind, name, options, message):
    with pytest.raises(InputError, match=rf"policy\.{kind}.*{message}"):
        complete(kind, name, options)


KINDS = ("routing", "admission", "abandonment", "delivery", "migration", "roles", "scaling")
NEEDS = {"missed_slo": {"ttft_s": 1.0}}


@pytest.mark.parametrize("kind", KINDS)
def test_every_policy_has_its_place_in_the_documents_with_all_its_parameters(kind):
    page = {"abandonment": "admission", "roles": "migration"}.get(kind, kind)
    text = (DOCS / f"{page}.md").read_text("utf-8")
    for name in discover(kind):
        assert f"`{name}`" in text, name
        for parameter, default in complete(kind, name, NEEDS.get(name, {})).items():
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            if parameter in NEEDS.get(name, {}):
                shown = "0.0"
            assert f"`{parameter}` ({shown})" in text, f"{name}: {parameter} ({shown})"


def commands():
    for path in sorted(DOCS.glob("*.md")):
        text = re.sub(r" *\\\n +", " ", path.read_text("utf-8"))  # commands may go on in the next line
        for line in re.findall(r"^    (\.venv/bin/servesim run .*)$", text, re.M):
            yield pytest.param(line, id=f"{path.stem}-{line[-20:]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_in_the_documents_are_scenarios(line, tmp_path, monkeypatch):
    from simulator.scenario.scenario import default_scenario
    from tests.cli.test_docs import FILES

    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    words = shlex.split(line, comments=True)
    default_scenario([value for option, value in pairwise(words) if option == "--set"])
