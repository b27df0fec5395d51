"""Policies that serve by a rank: what each promises, by theorems, bounds and small stories."""

import random
from functools import cache

import numpy as np
import pytest

from policies.routing.round_robin import RoundRobin
from policies.scheduling._ranked import Ranked
from policies.scheduling.edf import Edf
from policies.scheduling.fastserve import Fastserve
from policies.scheduling.least_slack import LeastSlack
from policies.scheduling.sjf import Sjf
from policies.scheduling.srpt import Srpt
from policies.scheduling.vllm_v1 import VllmV1
from policies.scheduling.vtc import Vtc
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import colocated
from simulator.replica.limits import Limits
from simulator.scenario.discover import load
from simulator.testing import new_engine, new_job
from simulator.workload.workload import Workload
from tests.engine_cases import SCHEDULING, EvenCost, RaggedCost

SECOND = EvenCost(1.0)
RANKED = [Sjf, Srpt, Edf, LeastSlack, Vtc, Fastserve]


def simulate(policy, arrivals, prompts, outputs, limits, cost=SECOND, **columns):
    """One replica, every output predicted rightly."""
    traffic = Workload(
        "test", arrivals, prompts, outputs, max(outputs), "a test", predicted_tokens=outputs, **columns
    )
    return engine.simulate(traffic, colocated(policy, cost, limits, RoundRobin())).tables


def seats(n, budget=1000, blocks=1000):
    return Limits(n, budget, 1000, blocks, 1)


def job(i, arrival_s, prompt, output, **known):
    return new_job(i, arrival_s, prompt, output, 1000, **{"predicted_tokens": output, **known})


def play(policy, jobs, limits, cost=SECOND, look=None):
    """Serve jobs step by step; return the times of each one's tokens. ``look(books)`` sees every plan."""
    books = new_engine(limits, queue_key=policy.queue_key(), price=cost.step_s)
    coming = sorted(jobs, key=lambda each: each.arrival_s, reverse=True)
    times = {each.id: [] for each in jobs}
    now_s = 0.0
    while coming or books.running or books.waiting:
        while coming and (coming[-1].arrival_s <= now_s or not (books.running or books.waiting)):
            now_s = max(now_s, coming[-1].arrival_s)
            books.submit(coming.pop())
        books.open(now_s)
        policy.plan(books)
        if look is not None:
            look(books)
        before = {each: each.generated_tokens for each in books.running}
        completing = books.advance()
        now_s += cost.step_s(books.shape)
        books.retire(completing, now_s)
        for each, tokens in before.items():
            times[each.id] += [now_s] * (each.generated_tokens - tokens)
        assert books.fruitless_steps < 500
    return times


# What all of them share


@pytest.mark.parametrize("policy", RANKED)
@pytest.mark.parametrize("seed", range(8))
def test_steps_that_the_engine_runs_by_itself_change_nothing(policy, seed):
    """Whatever a policy counts must follow from the jobs, as it is not asked while everyone decodes."""

    class Asked(policy):
        def coast_spare_blocks(self):
            return None

    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(0.15, 60))
    prompts, outputs = draw.integers(1, 40, 60), draw.integers(1, 40, 60)
    limits = Limits(4, 30, 100, 30, 4)
    options = {"cost": RaggedCost(), "tenant": draw.integers(0, 3, 60)}
    one = simulate(policy, arrivals, prompts, outputs, limits, **options)
    two = simulate(Asked, arrivals, prompts, outputs, limits, **options)
    for name, column in one.tokens.items():
        assert column.tobytes() == two.tokens[name].tobytes(), name


def test_a_long_prompt_of_better_rank_leaves_decodes_their_tokens():
    running = [job(i, 0.0, 1, 40, priority=1) for i in range(3)]
    times = play(ByPriority(), [*running, job(3, 2.0, 100, 1)], seats(8, budget=8))
    assert np.diff([times[i] for i in range(3)]).tolist() == [[1.0] * 39] * 3
    assert times[3] == [2.0 + 100 / 5]  # what three decodes leave of eight


def test_a_budget_below_the_decodes_goes_by_rank():
    first = [job(i, 0.0, 1, 5, priority=9 - i) for i in range(4)]
    times = play(ByPriority(), first, seats(8, budget=2))
    assert times == {3: [1, 2, 3, 4, 5], 2: [1, 2, 3, 4, 5], 1: [6, 7, 8, 9, 10], 0: [6, 7, 8, 9, 10]}


def test_the_worst_rank_gives_its_blocks_up():
    class Lasting(ByPriority):
        preemptive = False

    jobs = [job(i, float(i), 4, 8, priority=p) for i, p in enumerate([3, 1, 2])]
    play(Lasting(), jobs, seats(3, blocks=20))  # three of four tokens fit, three of twelve do not
    assert jobs[0].preemptions > 0
    assert jobs[1].preemptions == 0


def test_a_better_rank_takes_the_blocks_it_needs_and_no_more():
    jobs = [job(i, 0.0, 10, 30, priority=p) for i, p in enumerate([2, 3, 4])]
    times = play(ByPriority(), [*jobs, job(3, 4.0, 25, 1, priority=1)], seats(9, blocks=60))
    assert times[3] == [5.0]
    assert [each.preemptions > 0 for each in jobs] == [False, True, True]
    jobs = [job(i, 0.0, 10, 30, priority=p) for i, p in enumerate([2, 3, 4])]
    times = play(ByPriority(), [*jobs, job(3, 4.0, 25, 1, priority=5)], seats(9, blocks=60))
    assert times[3][0] > times[0][-1]  # nobody ranks worse, so it waits


class ByPriority(Ranked):
    def rank(self, job):
        return job.priority


class Contrary(Ranked):
    """Whoever has something computed ranks worst: without a rule against it, nobody would ever get on."""

    def rank(self, job):
        return job.computed_tokens


@pytest.mark.parametrize("n", [1, 2])
def test_ranks_that_fall_while_served_end_all_the_same(n):
    jobs = [job(i, 0.0, 20, 5) for i in range(6)]
    times = play(Contrary(), jobs, seats(n, budget=3, blocks=25))
    assert [len(times[i]) for i in range(6)] == [5] * 6


# Shortest job first


def test_sjf_starts_the_shortest_and_stops_nobody():
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


# Deadlines


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
    their grid and nobody's KV is ever lost; it is released with the token before it, whose deadline is
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


# Fairness


def service_by_step(policy, jobs, n_seats, limits):
    """Tokens served to tenants 0 and 1 (a prompt's 1, an output's 2) while both have requests waiting."""
    served, rows = [0.0, 0.0], []
    counted, begun = dict.fromkeys(jobs, 0), set()

    def look(books):
        for each in jobs:
            served[each.tenant] += 2 * (each.generated_tokens - counted[each])
            counted[each] = each.generated_tokens
        for each in books.running:
            if each not in begun:
                begun.add(each)
                served[each.tenant] += each.prompt_tokens
        if {each.tenant for each in books.waiting} == {0, 1}:
            rows.append(tuple(served))

    play(policy, jobs, limits, look=look)
    return np.array(rows)


@pytest.mark.parametrize("late_s", [0.0, 60.0])
def test_vtc_bounds_the_difference_in_service(late_s):
    """Theorem 4.4: between backlogged tenants at most 2·max(w_p·L_input, w_q·M); M is the KV cache."""
    blocks, longest = 80, 16

    def flood():
        draw = random.Random(5)
        many = [
            job(i, i * 0.01, draw.randint(8, longest), draw.randint(10, 20), tenant=0) for i in range(300)
        ]
        few = [
            job(300 + i, late_s + i * 0.5, draw.randint(1, 8), draw.randint(1, 20), tenant=1)
            for i in range(120)
        ]
        return many + few

    def largest_difference(policy):
        rows = service_by_step(policy, flood(), 4, seats(4, blocks=blocks))
        assert len(rows) > 150
        difference = (rows - rows[0])[:, 0] - (rows - rows[0])[:, 1]
        return difference.max() - difference.min()

    bound = 2 * max(1 * longest, 2 * blocks)
    assert largest_difference(Vtc()) <= bound
    assert largest_difference(VllmV1(async_scheduling=False)) > 2 * bound


def tenants_served_first(policy, jobs):
    times = play(policy, jobs, seats(1))
    return [each.tenant for each in sorted(jobs, key=lambda each: times[each.id][0])]


def test_vtc_weights_count():
    """Whose tokens weigh nothing is not held back for having many of them."""

    def starts_of_the_greedy(policy, prompt, output):
        jobs = [job(i, 0.0, prompt if i % 2 else 2, output if i % 2 else 2, tenant=i % 2) for i in range(20)]
        return sum(tenants_served_first(policy, jobs)[:10])

    assert starts_of_the_greedy(Vtc(), 30, 2) == 2  # 34 against 6
    assert starts_of_the_greedy(Vtc(w_p=1e-9), 30, 2) == 5
    assert starts_of_the_greedy(Vtc(), 2, 6) == 3  # 14 against 6
    assert starts_of_the_greedy(Vtc(w_q=1e-9), 2, 6) == 5


def test_vtc_gives_no_credit_for_time_in_which_nobody_waited():
    """Tenant 0 is served alone, the queue runs dry; then tenant 1 comes, and 0 comes back just after."""
    alone = [job(i, 0.0, 4, 4, tenant=0) for i in range(20)]
    later = [job(20 + i, 100.0 + (i > 9) * 0.5, 4, 4, tenant=int(i < 10)) for i in range(20)]
    assert tenants_served_first(Vtc(), alone + later)[20:30].count(1) <= 6


# Feedback queues


def test_fastserve_sinks_by_quanta_that_double():
    policy, queue_at = Fastserve(quantum_steps=2.0), {}
    long = job(0, 0.0, 1, 40)

    def look(books):
        queue_at[long.generated_tokens] = policy.rank(long)

    play(policy, [long], seats(1), look=look)
    sank = [tokens for tokens in range(1, 40) if queue_at[tokens] > queue_at[tokens - 1]]
    assert sank == [3, 7, 15, 31]  # after 2, 2 + 4, ... further steps


def test_fastserve_newcomers_go_before_those_that_have_sunk():
    times = play(Fastserve(), [job(0, 0.0, 1, 30), job(1, 9.0, 1, 3)], seats(1))
    assert times[1][0] == 10.0


def test_fastserve_long_prompts_skip_the_first_queues():
    """At ten tokens a step, 160 tokens take 16 steps: the fifth queue, below one that has got five tokens."""
    jobs = [job(0, 0.0, 1, 10), job(1, 5.0, 160, 3), job(2, 6.0, 1, 1)]
    times = play(Fastserve(), jobs, seats(1, budget=10))
    assert times[2] == [7.0]
    assert times[0][-1] == 11.0
    assert times[1][0] == 27.0


@pytest.mark.parametrize("starvation_s", [20.0, 1000.0])
def test_fastserve_raises_the_starving(starvation_s):
    """Nine hundred tokens, ten a second, go to a low queue; a house full of short requests stays above it."""
    long = job(0, 0.0, 900, 5)
    short = [job(1 + i, 3.0 + 2 * i, 1, 2) for i in range(100)]
    times = play(Fastserve(quantum_steps=4.0, starvation_s=starvation_s), [long, *short], seats(1, budget=10))
    assert (times[0][0] < 200.0) == (starvation_s == 20.0)
    if starvation_s == 20.0:
        assert times[0][0] == 3.0 + 20.0 + 2.0 + 90.0  # it waits for one that is in queue 0 already
