"""Plans spread a model over stages where no GPUs of one stage hold it, and only there."""

import pytest

from simulator import Scenario
from simulator.scenario.resolve import resolve_pools
from simulator.studies.plan.gpus import gpus_of, usd_per_hour
from simulator.studies.plan.space import PlanFile

PLAN = """
target = ["latency.tpot_s.p99 <= 0.1"]
[set]
hardware.model = "llama-3.1-70b"
workload = {arrivals = "poisson", rate_rps = 1, requests = 10, prompt_tokens = 500, output_tokens = 100}
[space]
gpus = ["a100-40gb", "h100-80gb-sxm"]
tensor_parallel = [1, 2]
shapes = ["colocated", "1:1"]
replicas = [1, 2]
"""
KEY = "engine.pipeline_parallel_size"


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    return PlanFile.from_toml(tmp_path / "plan.toml")


def test_only_what_one_stage_cannot_hold_is_spread(plan):
    spread = {(line.gpu, line.tensor_parallel, line.shape) for line in plan.lines if KEY in line.settings}
    assert spread == {("a100-40gb", 2, "colocated")}
    assert {line.settings[KEY] for line in plan.lines if KEY in line.settings} == {2}


def test_every_gpu_of_every_stage_is_paid(plan):
    line = next(line for line in plan.lines if KEY in line.settings)
    alone = next(
        each
        for each in plan.lines
        if each.group == ("a100-40gb", 1, "colocated") and KEY not in each.settings
    )
    assert line.usd_per_hour(1) == 4 * alone.usd_per_hour(1)
    assert usd_per_hour(plan.scenario(line, 1), None) == line.usd_per_hour(1)


def test_every_rank_is_paid():
    engine = {"data_parallel_size": 4, "enable_expert_parallel": True}
    scenario = Scenario(hardware={"model": "qwen3-30b-a3b"}, engine=engine, cluster={"replicas": 2})
    (pool,) = resolve_pools(scenario)
    assert gpus_of(scenario) == {pool.gpu.name: pool.gpus} == {"h100-80gb-sxm": 8}
