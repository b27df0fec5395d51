"""Policies that serve by a rank: what all of them share."""

from functools import partial

import numpy as np
import pytest

from policies.scheduling._ranked import Ranked
from policies.scheduling.autellix import Autellix
from policies.scheduling.edf import Edf
from policies.scheduling.fastserve import Fastserve
from policies.scheduling.jitserve import JitServe
from policies.scheduling.least_slack import LeastSlack
from policies.scheduling.sjf import Sjf
from policies.scheduling.srpt import Srpt
from simulator.replica.limits import Limits
from tests.engine_cases import RaggedCost
from tests.ranked_cases import RANKED, job, play, seats, simulate

SMALL_BATCH = [
    partial(Sjf, batch_size=2),
    partial(Srpt, batch_size=2),
    partial(Edf, margin_s=0.01),
    partial(LeastSlack, margin_s=0.01),
    partial(Fastserve, batch_size=2, starvation_s=0.2, starvation_steps=7),
    partial(JitServe, batch_size=2, interval=5, max_swaps=1),
    partial(Autellix, bin_tokens=7),
]


@pytest.mark.parametrize("policy", [*RANKED, *SMALL_BATCH])
@pytest.mark.parametrize(
    ("gap_s", "seed"), [*((0.15, seed) for seed in range(6)), (0.05, 3), (0.05, 4), (0.02, 9), (0.02, 10)]
)
def test_steps_that_the_engine_runs_by_itself_change_nothing(policy, gap_s, seed):
    """Whatever a policy counts must follow from the jobs, as it is not asked while all decode."""

    def asked():
        made = policy()
        made.fast_forward_spare_blocks = lambda: None
        return made

    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(gap_s, 60))
    prompts, outputs = draw.integers(1, 40, 60), draw.integers(1, 40, 60)
    limits = Limits(3, 30, 100, 30, 4, num_cpu_blocks=40)
    options = {"cost": RaggedCost(), "tenant": draw.integers(0, 3, 60)}
    one = simulate(policy, arrivals, prompts, outputs, limits, **options)
    two = simulate(asked, arrivals, prompts, outputs, limits, **options)
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
    assert times[3][0] > times[0][-1]  # no job ranks worse, so it waits


class ByPriority(Ranked):
    def rank(self, job):
        return job.priority


class Contrary(Ranked):
    """A job with something computed ranks worst: without a rule against it, none would ever get on."""

    def rank(self, job):
        return job.computed_tokens


@pytest.mark.parametrize("n", [1, 2])
def test_ranks_that_fall_while_served_end_all_the_same(n):
    jobs = [job(i, 0.0, 20, 5) for i in range(6)]
    times = play(Contrary(), jobs, seats(n, budget=3, blocks=25))
    assert [len(times[i]) for i in range(6)] == [5] * 6
