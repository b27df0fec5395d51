"""Data-parallel ranks from a scenario: which are in step, what they hold, and what is refused."""

import numpy as np
import pytest

from simulator import InputError, Scenario, run
from simulator.scenario.run import ready

MOE = {"gpu": "h100-80gb-sxm", "model": "qwen3-30b-a3b"}
TRAFFIC = {"trace": "azure2023_conv", "limit": 60}
TWO = {"data_parallel_size": 2, "enable_expert_parallel": True}


def scenario(hardware=MOE, engine=TWO, **more):
    return Scenario(
        hardware=hardware, engine=engine, workload=TRAFFIC, **{"cluster": {"replicas": 1}, **more}
    )


def passes(steps, replicas):
    mine = np.isin(steps["replica"].to_numpy(), replicas)
    return np.unique(np.stack([steps[name].to_numpy()[mine] for name in ("start_s", "end_s")]), axis=1)


def test_ranks_of_a_mixture_are_in_step_and_hold_a_share_of_the_experts():
    one, two = (ready(scenario(engine=engine))[1][0] for engine in ({}, TWO))
    assert (two.replicas, two.lockstep, two.gpus) == (2, 2, 2)
    assert 0.45 * one.capacity.weight_bytes < two.capacity.weight_bytes < 0.6 * one.capacity.weight_bytes
    result = run(scenario())
    spans = passes(result.steps(), [0, 1])
    assert (spans[1, :-1] <= spans[0, 1:]).all()
    assert result.manifest["gpus"] == 2


def test_ranks_of_a_dense_model_are_replicas():
    dense = {"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"}
    ranks = run(scenario(dense, {"data_parallel_size": 2})).steps()
    assert ranks.equals(run(scenario(dense, {}, cluster={"replicas": 2})).steps())


def test_pools_may_have_unlike_numbers_of_ranks():
    cluster = {"prefill": {"data_parallel_size": 2}, "decode": {"data_parallel_size": 4}}
    result = run(scenario(cluster=cluster))
    assert set(result.requests()["state"].to_pylist()) == {"completed"}
    for pool in ([0, 1], [2, 3, 4, 5]):
        spans = passes(result.steps(), pool)
        assert (spans[1, :-1] <= spans[0, 1:]).all()
    assert result.manifest["gpus"] == 6


@pytest.mark.parametrize(
    ("engine", "more", "message"),
    [
        ({"data_parallel_size": 2}, {}, "enable_expert_parallel: false with data_parallel_size = 2"),
        ({**TWO, "data_parallel_size": 3}, {}, "must divide the 128 experts"),
        ({**TWO, "data_parallel_size": 16}, {}, "expected a link between the nodes"),
        (TWO, {"policy": {"migration": "llumnix"}}, "policy.migration: not simulated with data-parallel ranks"),
        (TWO, {"cluster": {"replicas": 1, "faults": {"mtbf_s": 9.0}}}, "cluster.faults: not simulated"),
    ],
)  # fmt: skip
def test_what_is_not_simulated_is_refused(engine, more, message):
    with pytest.raises(InputError, match=message):
        ready(scenario(engine=engine, **more))


def test_a_dense_model_has_no_experts_to_spread():
    with pytest.raises(InputError, match="has no experts"):
        ready(scenario({"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"}, {"enable_expert_parallel": True}))
