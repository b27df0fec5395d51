"""Steps that vary: nothing is lost, the mean stays, equal seeds give equal bytes, and policies are told the price."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import InputError, Scenario, run
from simulator.cluster.jitter import JitteredCost
from simulator.replica.cost import StepShape
from simulator.rng import draws
from tests.cluster_cases import deployments, play
from tests.engine_cases import CHOICES, EvenCost
from tests.examples import examples
from tests.laws.test_cluster_laws import check, same

TRAFFIC = {"arrivals": "poisson", "rate_rps": 12.0, "requests": 60, "lengths": "chat_azure2023"}


def jittered(deployment, variation):
    pools = [pool._replace(step_jitter=variation) for pool in deployment.pools]
    return deployment._replace(pools=pools)


@pytest.mark.parametrize("mode", ["disaggregated", "faults", "migration"])
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data(), variation=st.sampled_from([0.05, 1.0]))
def test_nothing_is_lost_and_equal_seeds_give_equal_bytes(mode, data, variation):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), (mode,)))
    once, again = (jittered(copy.deepcopy(deployment), variation) for _ in range(2))
    cluster, outcome = play(traffic, once)
    check(traffic, once, cluster, outcome)
    same(outcome.tables, play(traffic, again)[1].tables)


@pytest.mark.parametrize("variation", [0.1, 1.0])
def test_the_factor_has_mean_one_and_its_deviation(variation):
    cost = JitteredCost(EvenCost(2.0), variation, draws(3, "a test"))
    drawn = np.array([cost.step_s(StepShape(decode_seqs=1)) for _ in range(50_000)]) / 2.0
    assert drawn.min() > 0
    assert drawn.mean() == pytest.approx(1, abs=0.03)
    assert drawn.std() == pytest.approx(variation, rel=0.1)
    assert cost.expected_s(StepShape(decode_seqs=1)) == 2.0


def test_a_prediction_draws_no_factor():
    """Admission control that predicts, and lets all in, leaves every step as it is without."""
    plain, predicting = (
        run(Scenario(workload=TRAFFIC, policy={"admission": admission}, engine={"step_jitter": 0.3})).steps()
        for admission in ("none", {"name": "early_reject", "ttft_s": 1e6})
    )
    assert plain.equals(predicting)


def test_the_same_steps_take_the_same_factors_whatever_the_policy():
    alone = {"arrivals": "constant", "rate_rps": 1, "requests": 1, "prompt_tokens": 40, "output_tokens": 30}
    longer = []
    for policy in ("vllm_v1", "orca"):
        plain, varied = (
            run(Scenario(workload=alone, policy={"scheduling": policy}, engine={"step_jitter": jitter}))
            for jitter in (0.0, 0.4)
        )
        taken = [
            np.subtract(*(each.steps()[name].to_numpy() for name in ("end_s", "start_s")))
            for each in (plain, varied)
        ]
        longer.append(taken[1] / taken[0])
    n = min(map(len, longer))
    assert longer[0][:n] == pytest.approx(longer[1][:n])
    assert len(set(np.round(longer[0], 6))) == len(longer[0])


def test_replicas_vary_on_their_own_and_several_processes_change_nothing():
    scenario = Scenario(workload=TRAFFIC, engine={"step_jitter": 0.3}, cluster={"replicas": 3})
    one, split = run(scenario), run(scenario, processes=2)
    assert one.tokens().equals(split.tokens())
    other = run(scenario.model_copy(update={"seed": scenario.seed + 1}))
    assert not other.tokens().equals(one.tokens())


def test_the_longest_waits_are_longer_and_the_mean_step_is_not():
    plain, varied = (
        run(Scenario(workload=TRAFFIC, cluster={"replicas": 1}, engine={"step_jitter": jitter})).summary()
        for jitter in (0, 1.0)
    )
    assert varied["latency"]["tpot_s"]["mean"] == pytest.approx(plain["latency"]["tpot_s"]["mean"], rel=0.2)
    assert varied["latency"]["ttft_s"]["p99"] > 1.2 * plain["latency"]["ttft_s"]["p99"]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"policy": {"scheduling": "muxwise"}}, "muxwise, which splits SMs"),
        ({"engine": {"pipeline_parallel_size": 2}}, "several stages"),
    ],
)
def test_where_steps_are_not_priced_one_by_one_it_is_refused(tables, said):
    engine = {**tables.get("engine", {}), "step_jitter": 0.1}
    with pytest.raises(InputError, match=rf"^engine\.step_jitter: not simulated with .*{said}"):
        run(Scenario(workload=TRAFFIC, **{**tables, "engine": engine}))


def test_energy_is_of_steps_that_take_their_price():
    with pytest.raises(InputError, match=r"^hardware\.usd_per_kwh: not estimated with engine\.step_jitter"):
        run(Scenario(workload=TRAFFIC, engine={"step_jitter": 0.1}, hardware={"usd_per_kwh": 0.2}))
