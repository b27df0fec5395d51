"""Sarathi never stalls a decode; Andes serves readers about to idle, and not too often at others' cost."""

import numpy as np
import pytest

from policies.scheduling.andes import Andes, _gain
from policies.scheduling.continuous import Continuous
from policies.scheduling.sarathi import Sarathi
from policies.scheduling.vllm_v0 import VllmV0
from simulator.replica.limits import Limits
from simulator.testing import new_job
from tests.engine_cases import EvenCost, RaggedCost, serve

MIXED = {
    "arrivals": np.arange(40) * 0.03,
    "prompts": [700 if i % 5 == 0 else 90 for i in range(40)],
    "outputs": [30 + i for i in range(40)],
}


def skipped_steps(outcome):
    """The most steps between two tokens of a request, less one."""
    steps, tokens = outcome.tables.steps, outcome.tables.tokens
    at = np.searchsorted(steps["end_s"], tokens["generated_s"])
    same = np.diff(tokens["request_id"]) == 0
    return int((np.diff(at)[same] - 1).max())


@pytest.mark.parametrize("options", [{}, {"chunk_size": 64}, {"tbt_target_s": 0.008}])
def test_no_decode_is_stalled_by_a_prompt(options):
    assert skipped_steps(serve(lambda: Sarathi(**options), **MIXED)) == 0


def test_the_stall_test_sees_stalls():
    assert skipped_steps(serve(VllmV0, **MIXED)) > 0


@pytest.mark.parametrize("chunk_size", [16, 100, 512])
def test_prompts_get_what_the_decodes_leave_of_the_budget(chunk_size):
    steps = serve(lambda: Sarathi(chunk_size=chunk_size), **MIXED).tables.steps
    room = np.maximum(0, chunk_size - steps["decode_seqs"])
    assert (steps["prefill_tokens"] <= room).all()
    assert (steps["prefill_tokens"] == room).any()


def test_ongoing_prompts_come_before_new_ones():
    outcome = serve(
        lambda: Sarathi(chunk_size=10), [0.0, 0.0, 0.0], [25, 5, 5], [1, 1, 1], cost=EvenCost(1.0)
    )
    assert outcome.tables.steps["prefill_seqs"].tolist() == [1, 1, 2, 1]
    assert outcome.tables.requests["end_s"].tolist() == [3.0, 3.0, 4.0]


def test_steps_stay_below_the_target_and_use_it():
    target_s = 0.009
    steps = serve(lambda: Sarathi(tbt_target_s=target_s), **MIXED).tables.steps
    lasted_s = steps["end_s"] - steps["start_s"]
    prompts = steps["prefill_tokens"] > 0
    assert (lasted_s[prompts] <= target_s + 1e-9).all()
    # One token more would not have fitted, wherever prompts went on into the next step.
    cut = prompts[:-1] & prompts[1:] & (steps["prefill_tokens"][:-1] < 512 - steps["decode_seqs"][:-1])
    assert (lasted_s[:-1][cut] > target_s - 3e-4).mean() > 0.8
    free = serve(Sarathi, **MIXED).tables.steps
    assert (free["end_s"] - free["start_s"]).max() > 3 * target_s


def test_a_target_out_of_reach_leaves_prompts_a_block_a_step():
    outcome = serve(lambda: Sarathi(tbt_target_s=1e-4), [0.0, 0.0], [100, 50], [4, 4], cost=RaggedCost())
    steps = outcome.tables.steps
    assert steps["prefill_tokens"].max() == 16
    assert outcome.tables.requests["delivered_tokens"].tolist() == [4, 4]


def test_the_latest_is_computed_again():
    limits = Limits(8, 64, 64, 8, 4, num_cpu_blocks=50)
    outcome = serve(lambda: Sarathi(watermark=0.0), [0.0, 0.0], [15, 11], [9, 9], limits=limits)
    assert outcome.tables.requests["preemptions"].tolist() == [0, 1]
    assert outcome.tables.requests["delivered_tokens"].tolist() == [9, 9]


PACE_S = 0.05  # what a job has without further notice
ONE_AT_A_TIME = Limits(1, 512, 512, 8, 64, num_cpu_blocks=8)
AHEAD = {"arrivals": [0.0, 1.0], "prompts": [60, 60], "outputs": [380, 100]}


def served(policy):
    outcome = serve(policy, **AHEAD, limits=ONE_AT_A_TIME, cost=EvenCost(0.01))
    tokens = outcome.tables.tokens
    times = [tokens["generated_s"][tokens["request_id"] == request] for request in (0, 1)]
    late = [
        bool((times[i] > AHEAD["arrivals"][i] + PACE_S * np.arange(1, len(times[i]) + 1)).any())
        for i in (0, 1)
    ]
    return outcome.tables.requests, times, late


def test_a_reader_far_ahead_is_paused_for_one_about_to_idle():
    requests, times, late = served(lambda: Andes(horizon_s=5.0, watermark=0.0))
    assert requests["preemptions"][0] == 1
    assert times[1][0] - 1.0 < 0.2
    gap_s = np.diff(times[0]).max()
    assert 0.5 < gap_s < 2.0  # paused while the other one got ahead
    assert late == [False, False]  # and no reader noticed
    # First come, first served has the second wait for the first.
    requests, times, late = served(lambda: Continuous("swap", watermark=0.0))
    assert times[1][0] > 3.0
    assert late[1]


def test_the_place_of_the_chosen_is_kept_while_a_prompt_fills_the_steps():
    outcome = serve(
        lambda: Andes(horizon_s=2.0),
        [0.0, 0.9, 1.0],
        [8, 200, 8],  # the second computes its prompt when the third is chosen instead of the first
        [400, 50, 20],
        limits=Limits(2, 8, 512, 100, 16, num_cpu_blocks=100),
        cost=EvenCost(0.01),
    )
    requests = outcome.tables.requests
    assert requests["preemptions"][0] == 1
    assert requests["first_scheduled_s"][2] == pytest.approx(requests["first_token_s"][1], abs=0.011)


@pytest.mark.parametrize("cap", [1, 2, 4])
def test_no_request_is_preempted_by_choice_more_often_than_the_cap(cap):
    """Every request fills one block to the end, so none is preempted for want of a block for the next token."""
    outcome = serve(
        lambda: Andes(interval=2, max_preemptions=cap, horizon_s=1.0, watermark=0.0),
        np.arange(24) * 0.1,
        [8] * 24,
        [50] * 24,
        limits=Limits(64, 512, 64, 3, 64, num_cpu_blocks=100),
        cost=EvenCost(0.02),
    )
    assert outcome.stalled is None
    assert outcome.tables.requests["preemptions"].max() == cap
    assert (outcome.tables.requests["delivered_tokens"] == 50).all()


def reader(generated, **options):
    job = new_job(0, 0.0, 100, 999, 999, **options)
    job.generated, job.computed = generated, 99 + generated
    return job


def test_the_gain_is_the_difference_of_the_areas():
    rng = np.random.default_rng(3)
    for _ in range(200):
        generated, now_s = int(rng.integers(1, 300)), float(rng.uniform(0, 10))
        horizon_s, rate, delay_s = rng.uniform(0.1, 20), rng.uniform(1, 100), rng.uniform(0, 3)
        job = reader(generated, allowance_s=float(rng.choice([0.0, 2.0])), pace_s=float(rng.uniform(0.02, 1)))
        t = np.linspace(now_s, now_s + horizon_s, 20_001)
        expected = (t - job.allowance_s) / job.pace_s
        there = generated + np.maximum(0, t - now_s - delay_s) * rate
        gained = np.maximum(0, expected - generated) - np.maximum(0, expected - there)
        until_s = now_s + horizon_s - job.allowance_s
        whole = until_s**2 / job.pace_s / 2
        area = gained.mean() * horizon_s
        want = area / whole if until_s > 0 else 0.0
        assert _gain(job, now_s, horizon_s, rate, delay_s) == pytest.approx(want, rel=1e-3, abs=1e-6)


def test_those_behind_gain_more_than_those_ahead_and_the_far_ahead_nothing():
    gains = [_gain(reader(generated), 2.0, 1.0, 50.0, 0.0) for generated in (20, 40, 50, 61)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0
    assert gains[-1] == 0


@pytest.mark.parametrize("policy", [Andes, Sarathi])
def test_a_watermark_is_a_share(policy):
    with pytest.raises(ValueError, match="watermark is a share"):
        policy(watermark=2.0)
