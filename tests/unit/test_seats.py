"""More seats than tokens of a step: refused as the engine does, or cut where they are a default."""

import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.scenario.resolve import resolve_pools


def limits(policy="vllm_v1", **engine):
    (pool,) = resolve_pools(Scenario(engine=engine, policy={"scheduling": policy}))
    return pool.limits


@pytest.mark.parametrize("policy", ["vllm_v1", "sarathi"])
def test_a_budget_below_the_seats_is_refused(policy):
    with pytest.raises(
        InputError, match=r"engine\.max_num_batched_tokens: 128, is below engine\.max_num_seqs = 256"
    ):
        limits(policy, max_num_batched_tokens=128, max_num_seqs=256)
    assert limits(policy, max_num_batched_tokens=256, max_num_seqs=256).max_num_seqs == 256


def test_seats_above_the_engine_s_own_budget_are_refused():
    with pytest.raises(InputError, match=r"8192, the engine's default, is below engine\.max_num_seqs = 9000"):
        limits(max_num_seqs=9000)


def test_seats_that_are_a_default_are_cut():
    assert limits(max_num_batched_tokens=128).max_num_seqs == 128
    assert limits().max_num_seqs == 1024


def test_sglang_does_not_compare_them():
    found = limits("sglang", profile="sglang-0.5", max_num_batched_tokens=128, max_num_seqs=256)
    assert found.max_num_seqs == 256


def test_each_pool_is_checked():
    cluster = {"prefill": {"max_num_batched_tokens": 64, "max_num_seqs": 65}, "decode": {}}
    with pytest.raises(InputError, match=r"^cluster\.prefill: engine\.max_num_batched_tokens: 64"):
        resolve_pools(Scenario(cluster=cluster))
