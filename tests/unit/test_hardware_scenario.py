"""The scenario's hardware and engine keys: which cost model, which overheads, how many GPUs, how much to swap."""

import json
from typing import Any

import numpy as np
import pytest

from hardware_profiles import load_gpu
from simulator import Scenario, run
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.errors import InputError
from simulator.report.report import report
from simulator.results.result import Result
from simulator.scenario.resolve import ResolvedPool, make_policy, resolve_pool
from simulator.workload import Workload

SHORT = {"arrivals": "poisson", "rate_rps": 2.0, "requests": 12, "prompt_tokens": 300, "output_tokens": 20}


def printed(result: Result) -> str:
    return str(report(result.manifest, result.summary()))


def served(**tables: Any) -> ResolvedPool:
    return resolve_pool(Scenario(**tables))


@pytest.mark.parametrize(
    ("hardware", "size", "kind"),
    [
        ({}, 1, "tabulated"),
        ({}, 4, "tabulated"),
        ({"model": "llama-2-7b"}, 8, "analytic"),
        ({"cost_model": "analytic"}, 1, "analytic"),
        ({"cost_model": "tabulated"}, 2, "tabulated"),
        ({"quantization": "fp8"}, 1, "analytic"),
        ({"gpu": "mi300x"}, 1, "analytic"),
        ({"gpu": "rtx-4090"}, 1, "tabulated"),
        ({"gpu": "rtx-pro-6000", "model": "qwen3-32b"}, 2, "tabulated"),
    ],
)
def test_cost_model_is_tabulated_where_it_can_be(hardware: dict[str, str], size: int, kind: str) -> None:
    assert served(hardware=hardware, engine={"tensor_parallel_size": size}).cost.kind == kind


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"hardware": {"cost_model": "magic"}}, "hardware.cost_model: expected one of"),
        (
            {"hardware": {"gpu": "l4", "cost_model": "tabulated"}},
            "hardware.cost_model: no operator table for",
        ),
        ({"hardware": {"overheads": "vllm-9"}}, "hardware.overheads: 'vllm-9' is not in h100-80gb-sxm"),
        ({"hardware": {"quantization": "int3"}}, "hardware.quantization: expected one of"),
        ({"engine": {"tensor_parallel_size": 3}}, "engine.tensor_parallel_size: expected one of"),
        ({"engine": {"swap_space": -1}}, "engine.swap_space: expected a number >= 0"),
        ({"hardware": {"gpu": "l4", "model": "qwen3-14b"}}, "does not fit l4"),
    ],
)
def test_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        served(**tables)


@pytest.mark.parametrize(
    ("scheduling", "overheads", "name"),
    [
        ("vllm_v1", None, "vllm-0_15-async"),
        ({"name": "vllm_v1", "engine_version": "0.11.0"}, None, "vllm-0_12-sync"),
        ({"name": "vllm_v1", "async_scheduling": False}, None, "vllm-0_12-sync"),
        ("vllm_v0", None, "vllm-0_12-sync"),
        ("vllm_v0", "vllm-0_15-async", "vllm-0_15-async"),
    ],
)
def test_natively_overheads_follow_the_policys_engine(
    scheduling: Any, overheads: str | None, name: str
) -> None:
    server = served(
        engine={"profile": "native"}, policy={"scheduling": scheduling}, hardware={"overheads": overheads}
    )
    assert server.cost.overheads == load_gpu("h100-80gb-sxm").engine_overheads[name]


def test_limits_for_swapping_and_strictness() -> None:
    server = served(engine={"swap_space": 2.0, "strict_engine": True})
    assert server.limits.num_cpu_blocks == 2 * 2**30 // (16 * server.model.kv_bytes_per_token)
    assert server.limits.strict_engine
    assert served(engine={"swap_space": 0}).limits.num_cpu_blocks == 0
    halves = served(engine={"swap_space": 2.0, "tensor_parallel_size": 2})
    assert halves.limits.num_cpu_blocks == 2 * server.limits.num_cpu_blocks
    assert not served().limits.strict_engine


def test_tensor_parallel_uses_more_gpus_and_counts_them() -> None:
    one, four = served(), served(engine={"tensor_parallel_size": 4})
    assert four.limits.num_gpu_blocks > 4 * one.limits.num_gpu_blocks
    assert served(
        hardware={"model": "llama-3.1-70b"}, engine={"tensor_parallel_size": 4}
    ).limits.num_gpu_blocks
    result = run(Scenario(workload=SHORT, cluster={"replicas": 2}, engine={"tensor_parallel_size": 4}))
    assert result.manifest["gpus"] == 8
    summary = result.summary()
    hours = summary["window"]["duration_s"] / 3600
    assert summary["cost"]["usd"] == pytest.approx(8 * hours * result.manifest["usd_per_gpu_hour"])
    assert result.manifest["engine"]["cost_model"] == "tabulated"
    assert json.dumps(result.manifest)
    assert "2 x 4 h100-80gb-sxm, tabulated step times; each GPU:" in printed(result)


def test_data_sheet_profiles_extrapolate_all_the_time() -> None:
    result = run(Scenario(workload=SHORT, hardware={"gpu": "mi300x"}))
    assert result.summary()["engine"]["extrapolated_share"] == 1
    assert "extrapolated: 100 % of the busy time" in printed(result)
    assert run(Scenario(workload=SHORT)).summary()["engine"]["extrapolated_share"] < 0.01


@pytest.mark.parametrize(("model", "rate"), [("llama-3.1-8b", 3.0), ("qwen3-14b", 4.0)])
def test_first_token_under_light_load(model: str, rate: float) -> None:
    # Across public vLLM 0.15.1 runs with cached prompts: 5.0 ms + 2.8 steps, within 3.7 % on average.
    n = 400
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(1 / rate, n))
    work = Workload("light", arrival_s, np.full(n, 8), np.full(n, 250), 250, "made up")
    scenario = Scenario(hardware={"model": model})
    server = resolve_pool(scenario)
    tables = simulate(
        work,
        colocated(
            lambda: make_policy("scheduling", scenario.policy.scheduling),
            server.cost,
            server.limits,
            make_policy("routing", scenario.policy.routing),
            frontend_s=server.cost.overheads.frontend_s,
        ),
    ).tables.requests
    ttft_s = float(np.mean(tables["first_token_s"] - tables["arrival_s"]))
    step_s = float(np.mean((tables["last_token_s"] - tables["first_token_s"]) / 249))
    assert ttft_s == pytest.approx(0.005 + 2.8 * step_s, rel=0.07)
