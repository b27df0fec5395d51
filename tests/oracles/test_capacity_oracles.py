"""The best rate of a system whose optimum is known, in finite runs: M/D/1, of one seat and one-token answers."""

import math

import numpy as np
import pytest

from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from simulator.studies.capacity.best import best_rate
from simulator.studies.capacity.book import Answer, SearchPlan
from simulator.studies.capacity.scenario import CapacityRuns, ScaledTraffic
from simulator.studies.capacity.target import parse_target
from simulator.studies.workers import Workers

REQUESTS = 2000
BEST_LOAD = 0.7  # at which smooth goodput is to be largest


def one_seat(alpha: float = 20.0, allowance_s: float = 0.0) -> Scenario:
    return Scenario(
        engine={"max_num_seqs": 1},
        policy={"scheduling": {"name": "vllm_v1", "async_scheduling": False}},
        workload={
            "arrivals": "poisson",
            "rate_rps": 5.0,
            "requests": REQUESTS,
            "prompt_tokens": 1500,
            "output_tokens": 1,
        },
        user={"alpha": alpha, "v_s_per_token": 1e-6, "first_token_allowance_s": allowance_s},
    )


@pytest.fixture(scope="module")
def service_s() -> float:
    """How long a request takes alone; the seat is free for the next one then."""
    steps = run(one_seat().with_overrides(["workload.requests=200", "workload.rate_rps=1000"])).steps()
    took_s = steps["end_s"].to_numpy() - steps["start_s"].to_numpy()
    assert np.ptp(took_s) < 1e-9
    gap_s = np.diff(steps["start_s"].to_numpy())
    np.testing.assert_allclose(gap_s, took_s[0])
    return float(took_s[0])


def found(scenario: Scenario, target: str, folder, start: float, seed: int = 0) -> Answer:
    wanted = parse_target(target)
    traffic = ScaledTraffic(scenario, None, None, compared=True)
    plan = SearchPlan(start, REQUESTS, 2 * REQUESTS, 0.05, seed=seed, most_rate=traffic.most_rate)
    answer = best_rate(CapacityRuns(traffic, wanted, folder, Workers(), lambda done: None), plan)
    for rate in (answer.rate, answer.low, answer.high):
        assert rate is None or rate <= traffic.most_rate
    return answer


def test_smooth_goodput_of_m_d_1_is_largest_where_pollaczek_and_khinchine_say(tmp_path, service_s):
    """Deadlines are so that the idle latency is the wait W, with E W = load service / (2 (1 - load)).

    Worth a second is then rate (1 - alpha E W), which is largest at load 1 - sqrt(k / (1 + k)), k = alpha service / 2.
    """
    root = 1 - BEST_LOAD
    alpha = 2 * root**2 / (1 - root**2) / service_s
    frontend_s = run(one_seat().with_overrides(["workload.requests=1"])).summary()["latency"]["ttft_s"]["max"]
    answer = found(one_seat(alpha, frontend_s - 1e-6), "smooth", tmp_path, 400.0)
    truth = BEST_LOAD / service_s
    assert answer.low < truth < answer.high
    assert answer.rate == pytest.approx(truth, rel=0.12)  # the top is flat: 2 % less worth at 12 % off
    best = next(each for each in answer.shown if each.verdict == "best")
    wait_s = BEST_LOAD * service_s / (2 * (1 - BEST_LOAD))
    assert best.mean is not None
    assert best.mean.mean == pytest.approx(truth * (1 - alpha * wait_s), rel=0.05)


@pytest.mark.parametrize(
    ("target", "start"), [("throughput.requests_per_s", 1.0), ("throughput.total_tokens_per_s", 400.0)]
)
def test_throughput_of_m_d_1_is_largest_just_below_saturation(tmp_path, service_s, start, target):
    answer = found(one_seat(), target, tmp_path, start)
    truth = 1 / service_s
    assert answer.rate == pytest.approx(truth, rel=0.06)
    assert answer.low is not None
    assert answer.low < truth * 1.02
    saturated = [ask.rate for ask, seen in answer.runs.items() if seen.saturated is not None]
    assert all(rate > 0.97 * truth for rate in saturated)
    assert math.isfinite(answer.rate)


def test_with_constant_arrivals_the_answers_are_of_the_service_time_alone(tmp_path, service_s):
    scenario = one_seat().with_overrides(["workload.arrivals=constant"])
    for target in ("throughput.requests_per_s", "goodput"):
        scenario = scenario.with_overrides(["slo.ttft_s=1.0"])
        answer = found(scenario, target, tmp_path / target, 2.0)
        assert answer.confidence is None
        assert answer.rate == pytest.approx(1 / service_s, rel=0.06)
