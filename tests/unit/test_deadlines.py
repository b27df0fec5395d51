"""Policies that serve by deadlines: all are met whenever that is possible."""

import random
from functools import cache

import numpy as np
import pytest

from policies.scheduling.edf import Edf
from policies.scheduling.least_slack import LeastSlack
from policies.scheduling.srpt import Srpt
from tests.ranked_cases import job, play, seats


def some_deadlines(seed):
    """Three or four requests with up to five tokens each; whole numbers of steps everywhere."""
    draw = random.Random(seed)
    return [
        job(
            i,
            float(draw.randint(0, 5)),
            1,
            draw.randint(1, 5),
            pace_s=float(draw.randint(1, 4)),
            allowance_s=float(draw.randint(0, 2)),
        )
        for i in range(draw.randint(3, 4))
    ]


def can_be_met(jobs):
    """Try every schedule that computes one token a step: is every token in time in one of them?"""

    @cache
    def search(now, done):
        left = [i for i, each in enumerate(jobs) if done[i] < each.target_tokens]
        if any(now >= due(jobs[i], done[i] + 1) for i in left):
            return False
        ready = [i for i in left if jobs[i].arrival_s <= now]
        tries = [(*done[:i], done[i] + 1, *done[i + 1 :]) for i in ready] or [done]
        return not left or any(search(now + 1, each) for each in tries)

    return search(0, (0,) * len(jobs))


def due(each, token):
    return each.arrival_s + each.allowance_s + each.pace_s * token


def meets_all(policy, jobs):
    times = play(policy, jobs, seats(9, budget=1))
    return all(t <= due(each, i + 1) for each in jobs for i, t in enumerate(times[each.id]))


@pytest.mark.parametrize("policy", [Edf, LeastSlack])
def test_all_deadlines_are_met_whenever_that_is_possible(policy):
    """A theorem for tasks of one unit with whole release times, on one machine that may change over freely.

    A token is such a task if a step computes one token only, all steps are equally long, arrivals are on
    their grid and no job's KV is ever lost; it is released with the token before it, whose deadline is
    earlier. The times that tokens need are then all the same, so the least slack is the earliest deadline.
    """
    possible = missed_by_others = 0
    for seed in range(200):
        if can_be_met(some_deadlines(seed)):
            possible += 1
            assert meets_all(policy(), some_deadlines(seed)), seed
            missed_by_others += not meets_all(Srpt(), some_deadlines(seed))
        else:
            assert not meets_all(policy(), some_deadlines(seed)), "the search is wrong"
    assert 40 < possible < 160
    assert missed_by_others > 20


def test_edf_takes_the_seat_of_one_that_is_ahead_of_its_reader():
    """And gives it back when the margin is lost, not at every token."""
    ahead = job(0, 0.0, 1, 40, pace_s=5.0)
    hurried = job(1, 10.0, 1, 20, pace_s=1.5)
    times = play(Edf(margin_s=2.0), [ahead, hurried], seats(1))
    assert times[1][0] == 11.0
    assert ahead.preemptions == 1
    patient = [job(0, 0.0, 1, 40, pace_s=5.0), job(1, 10.0, 1, 20, pace_s=1.5)]
    assert play(Edf(margin_s=500.0), patient, seats(1))[1][0] == 41.0


def test_least_slack_counts_what_a_prompt_still_needs():
    """Ten tokens a second: the long prompt is due later, but has less time to spare at first."""

    def times(policy):
        two = [job(0, 0.0, 10, 1, allowance_s=9.0), job(1, 0.0, 80, 1, allowance_s=9.5)]
        return play(policy, two, seats(4, budget=10))

    assert times(LeastSlack()) == {
        0: [8.0],
        1: [9.0],
    }  # the short one when its slack has shrunk, just in time
    assert times(Edf()) == {0: [1.0], 1: [9.0]}


def test_least_slack_does_not_preempt_what_would_take_too_long_to_compute_again():
    def first_token_of_the_second(prompt, allowance_s):
        ahead = job(0, 0.0, prompt, 200, pace_s=2.0, allowance_s=allowance_s)
        two = [ahead, job(1, 40.0, 10, 1, allowance_s=20.0)]
        times = play(LeastSlack(), two, seats(1, budget=10))
        assert sum(t <= 40.0 for t in times[0]) == (82.0 - allowance_s) / 2 - 1  # the next one is due at 82 s
        return times[1][0]

    assert first_token_of_the_second(10, 0.0) == 41.0  # 42 s of slack against 19, and 5 s are lost
    assert first_token_of_the_second(320, 62.0) > 41.0  # or 33 s


class Long:
    """A step of k decodes takes 0.2 + k/100 s, and 0.01 s a token of a prompt."""

    def step_s(self, shape):
        return 0.2 + 0.01 * shape.decode_seqs + 0.01 * shape.prefill_tokens


@pytest.mark.parametrize("policy", [Edf, LeastSlack])
def test_readers_far_ahead_sit_out_while_others_would_be_late(policy):
    """One reads a token in 100 s, one in 0.25 s, and prompts keep coming: the first waits, the second does not."""
    slow, quick = job(0, 0.0, 1, 60, pace_s=100.0), job(1, 0.0, 1, 60, pace_s=0.25)
    prompts = [job(2 + i, 1.0 + i, 40, 1, pace_s=0.1) for i in range(12)]
    times = play(policy(), [slow, quick, *prompts], seats(20), cost=Long())
    held, served = (np.diff(times[i]) for i in (0, 1))
    assert served.max() == pytest.approx(0.61)  # a step with a prompt and one decode
    assert held.max() == pytest.approx(0.83)  # such a step, and its own
    assert (held > 0.8).sum() > 5
    assert len(times[0]) == len(times[1]) == 60
    assert times[0][-1] > times[1][-1]
    # With no prompt to compute, or none late, all decode.
    alone = play(
        policy(), [job(0, 0.0, 1, 9, pace_s=100.0), job(1, 0.0, 1, 9, pace_s=0.25)], seats(20), cost=Long()
    )
    assert alone[0] == alone[1]


@pytest.mark.parametrize("policy", [Edf, LeastSlack])
def test_a_turn_changes_only_where_the_reader_has_text_in_hand_for_the_margin(policy):
    """One seat: a reader with some 2 s in hand stays with a margin of 5, and gives way with one of 1."""
    for margin_s, first in ((5.0, False), (1.0, True)):
        jobs = [job(0, 0.0, 1, 40, pace_s=1.08), job(1, 12.0, 1, 2, pace_s=0.1)]
        times = play(policy(margin_s=margin_s), jobs, seats(1))
        assert (times[1][0] < times[0][-1]) == first
