"""Shortest job and shortest remaining processing time first: theorems and small cases."""

import numpy as np
import pytest

from policies.scheduling._step_time import paying_batch
from policies.scheduling.sjf import Sjf
from policies.scheduling.srpt import Srpt
from simulator.replica.limits import Limits
from simulator.scenario.discover import load
from simulator.testing import new_engine
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


class Memory:
    """A step takes as long as what it computes: 1 s, and 0.05 s a token of a prompt."""

    def step_s(self, shape):
        return 1.0 + 0.05 * shape.prefill_tokens + 0.02 * shape.decode_seqs


def test_srpt_stays_with_a_request_that_has_most_of_its_output():
    """TRAIL's C: with the last tenth to go, one with less is not let in before."""
    jobs = [job(0, 0.0, 1, 20), job(1, 15.0, 1, 2)]
    assert play(Srpt(limit=1.0), jobs, seats(1))[1][-1] == 17.0
    assert play(Srpt(limit=0.5), jobs_again(jobs), seats(1))[1][-1] == 22.0


def test_srpt_counts_what_computing_again_costs():
    """A thousand tokens of prompt at 0.05 s against 8 tokens to go at a second: it is not worth it."""
    jobs = [job(0, 0.0, 1000, 20), job(1, 53.0, 1, 12)]
    assert play(Srpt(), jobs, seats(1), cost=Memory())[0][-1] < 75.0
    short = [job(0, 0.0, 10, 20), job(1, 3.5, 1, 2)]
    times = play(Srpt(), short, seats(1), cost=Memory())
    assert times[1][-1] < times[0][-1]


@pytest.mark.parametrize("a_over_b", [4.0, 25.0, 100.0])
@pytest.mark.parametrize("n", [10, 100, 400])
def test_the_batch_that_pays_is_the_best_of_all_for_equal_jobs(a_over_b, n):
    """N jobs of one length in batches of k, one batch after the other: all sizes tried against the formula."""

    def mean_s(k):
        sizes = [min(k, n - first) for first in range(0, n, k)]
        ends = np.cumsum([a_over_b + size for size in sizes])
        return np.dot(ends, sizes) / n

    class Cost:
        def step_s(self, shape):
            return a_over_b + shape.decode_seqs

    engine = new_engine(Limits(1000, 2000, 100, 4000, 16), price=Cost().step_s)
    for i in range(n):
        engine.submit(job(i, 0.0, 1, 9))
    chosen = min(n, paying_batch(engine))
    assert mean_s(chosen) <= 1.1 * min(map(mean_s, range(1, n + 1)))


@pytest.mark.parametrize("policy", [Sjf, Srpt])
def test_no_more_than_the_batch_get_a_token_in_a_step(policy):
    most = []

    def look(engine):
        most.append(engine.shape.decode_seqs + engine.shape.prefill_seqs)

    jobs = [job(i, float(i), 1, 30 - i) for i in range(12)]
    times = play(policy(batch_size=3), jobs, seats(8), look=look)
    assert max(most) == 3
    assert [len(times[i]) for i in range(12)] == [30 - i for i in range(12)]
    assert all(each.preemptions == 0 for each in jobs) or policy is Srpt


def test_none_gives_way_to_a_request_that_would_not_be_in_the_batch():
    """Two seats, a batch of one: the one with five to go has it, so the one with eight takes no seat."""
    jobs = [job(0, 0.0, 1, 30), job(1, 1.0, 1, 5), job(2, 2.0, 1, 8)]
    times = play(Srpt(batch_size=1), jobs, seats(2))
    assert times[1][-1] == 6.0
    assert times[2][0] == 7.0
    assert jobs[0].preemptions == 0  # a seat is free by then
