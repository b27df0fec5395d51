"""Shortest job and shortest remaining processing time first: theorems and small cases."""

import numpy as np
import pytest

from policies.scheduling.sjf import Sjf
from policies.scheduling.srpt import Srpt
from simulator.replica.limits import Limits
from simulator.scenario.discover import load
from tests.engine_cases import SCHEDULING, EvenCost
from tests.ranked_cases import SECOND, job, play, seats, simulate

# Shortest job first


def test_sjf_starts_the_shortest_and_stops_no_running_request():
    jobs = [job(0, 0.0, 1, 9), job(1, 1.0, 1, 7), job(2, 2.0, 1, 3), job(3, 3.0, 1, 5)]
    times = play(Sjf(), jobs, seats(1))
    assert sorted(times, key=lambda i: times[i][-1]) == [0, 2, 3, 1]
    assert times[0] == [float(t) for t in range(1, 10)]


def test_sjf_goes_on_with_a_prompt_before_it_starts_a_shorter_one():
    times = play(Sjf(), [job(0, 0.0, 100, 50), job(1, 2.0, 10, 1)], seats(2, budget=10))
    assert times[0][0] == 10.0
    assert times[1] == [12.0]  # the first one's decodes leave nine tokens of each step


def test_sjf_goes_by_the_prediction_not_by_the_truth():
    jobs = [job(0, 0.0, 1, 4), job(1, 0.0, 1, 9, predicted_tokens=1), job(2, 0.0, 1, 2, predicted_tokens=5)]
    times = play(Sjf(), jobs, seats(1))
    assert sorted(times, key=lambda i: times[i][-1]) == [1, 0, 2]


# Shortest remaining processing time


def test_srpt_preempts_for_a_shorter_one_only():
    jobs = [job(0, 0.0, 1, 9), job(1, 2.0, 1, 3), job(2, 3.0, 1, 2), job(3, 4.0, 1, 1)]
    times = play(Srpt(), jobs, seats(1))
    assert times[1] == [3.0, 4.0, 5.0]  # 2 to go at 3 s, when the next one has as many; then 1
    assert times[3] == [6.0]
    assert times[2] == [7.0, 8.0]
    assert times[0] == [1.0, 2.0, *np.arange(9.0, 16.0)]


def test_srpt_lets_one_that_outlives_its_prediction_go_on():
    jobs = [job(0, 0.0, 1, 9, predicted_tokens=2), job(1, 4.0, 1, 2)]
    assert play(Srpt(), jobs, seats(1))[0][-1] == 9.0


def test_srpt_margin_and_prompt_weight():
    jobs = [job(0, 0.0, 1, 9), job(1, 1.0, 1, 6)]
    assert play(Srpt(), jobs, seats(1))[1][0] == 2.0
    assert play(Srpt(margin_tokens=3.0), jobs_again(jobs), seats(1))[1][0] == 10.0
    jobs = [job(0, 0.0, 50, 3), job(1, 0.0, 1, 4)]
    assert play(Srpt(), jobs, seats(1))[0][0] == 1.0
    assert play(Srpt(prompt_weight=1.0), jobs_again(jobs), seats(1))[1][0] == 1.0


def jobs_again(jobs):
    return [job(each.id, each.arrival_s, each.prompt_tokens, each.target_tokens) for each in jobs]


def mean_e2e_s(policy, seed, n_seats, cost):
    draw = np.random.default_rng(seed)
    n = 40
    arrivals = np.cumsum(draw.integers(0, 9, n) * 2 // n_seats).astype(float)
    outputs = draw.geometric(0.12, n)
    tables = simulate(policy, arrivals, [1] * n, outputs, Limits(n_seats, 2000, 2000, 10_000, 16), cost)
    assert tables.requests["delivered_tokens"].sum() == outputs.sum()
    return (tables.requests["end_s"] - tables.requests["arrival_s"]).mean()


@pytest.mark.parametrize("name", [name for name in SCHEDULING if name != "srpt"])
def test_no_policy_has_a_shorter_mean_e2e_than_srpt_on_one_seat(name):
    """A theorem (Schrage 1968) where predictions are right and preemption costs nothing.

    So it is here: one request at a time, steps of one length, and a preempted request computes all it
    had in the step that also brings its next token. Requests come when steps end.
    """
    shorter = 0
    for seed in range(12):
        best, other = mean_e2e_s(Srpt, seed, 1, SECOND), mean_e2e_s(load("scheduling", name), seed, 1, SECOND)
        assert best <= other + 1e-9, seed
        shorter += best < other - 1e-9
    assert shorter > 6  # traffic on which the order counts


@pytest.mark.parametrize("name", [name for name in SCHEDULING if name != "srpt"])
def test_srpt_has_the_shortest_mean_e2e_of_all_with_more_seats(name):
    """No theorem: what is measured, over several seeds."""
    cost = EvenCost(1.0)
    best = np.mean([mean_e2e_s(Srpt, seed, 3, cost) for seed in range(12)])
    other = np.mean([mean_e2e_s(load("scheduling", name), seed, 3, cost) for seed in range(12)])
    assert best < other
