"""What a quantised model costs and moves: matrices by their format, keys and values by the type of the cache."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import AnalyticCost, TabulatedCost, find_table, kv_capacity, load_gpu, load_model
from hardware_profiles.matrix_rates import matrix_rate, quantising_bytes
from hardware_profiles.quantisation.formats import FP8, MXFP4, NVFP4, SIXTEEN_BITS
from hardware_profiles.quantisation.scheme import UNIFORM, Quantization
from hardware_profiles.quantisation.stored import estimated, stored
from simulator import Scenario, run
from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.scenario.deploy import deploy
from simulator.scenario.resolve import resolve_pools
from tests.hardware_costs import step

H100, H200, A100, L40S, B200 = (
    load_gpu(name) for name in ("h100-80gb-sxm", "h200-sxm", "a100-80gb-sxm", "l40s", "b200-sxm")
)
LLAMA = load_model("llama-3.1-8b")


def pools(**sections: Any) -> Any:
    workload = {"arrivals": "burst", "requests": 1, "prompt_tokens": 1000, "output_tokens": 10}
    scenario = Scenario.model_validate({"workload": workload} | sections)
    return scenario, resolve_pools(scenario)


def test_a_kv_cache_of_eight_bits_holds_twice_and_moves_half() -> None:
    graphs = {
        "cuda_graphs_gib": 0.0
    }  # 443,000 tokens in 16 bits are without what vLLM subtracts from 0.21 on
    plain, (usual,) = pools(engine=graphs)
    small, (eight,) = pools(engine={"kv_cache_dtype": "fp8", **graphs})
    assert (usual.capacity.kv_bytes_per_token, eight.capacity.kv_bytes_per_token) == (131_072, 65_536)
    assert eight.capacity.tokens == pytest.approx(2 * usual.capacity.tokens, abs=32)
    assert eight.capacity.tokens == pytest.approx(885_000, rel=0.005)
    assert eight.cost.swap_s_per_block == usual.cost.swap_s_per_block / 2
    assert eight.limits.num_cpu_blocks == 2 * usual.limits.num_cpu_blocks
    links = [deploy(each, [pool]).link for each, pool in ((plain, usual), (small, eight))]
    assert links[1].kv_bytes_per_token * 2 == links[0].kv_bytes_per_token


@pytest.mark.parametrize("kind", ["analytic", "tabulated"])
def test_decodes_read_half_of_a_kv_cache_of_eight_bits(kind: str) -> None:
    small = dataclasses.replace(LLAMA, kv_bytes_per_value=1.0)
    table = find_table(H100, small, 1)
    assert table is not None
    costs = [
        AnalyticCost(H100, each) if kind == "analytic" else TabulatedCost(H100, each, table)
        for each in (LLAMA, small)
    ]
    short, long = step([], [4096] * 32), step([], [8192] * 32)
    usual, eight = (cost.kernel_s(long) - cost.kernel_s(short) for cost in costs)
    assert eight == pytest.approx(usual / 2)
    assert costs[1].kernel_s(step([(512, 0)], [])) == costs[0].kernel_s(step([(512, 0)], []))


def test_weights_are_multiplied_in_what_the_gpu_has_units_for() -> None:
    assert matrix_rate(A100, FP8).unpacked
    assert matrix_rate(A100, FP8).peak_flop_per_s == A100.peak_flop_per_s
    assert matrix_rate(H100, FP8).peak_flop_per_s == 1979e12
    assert matrix_rate(H100, NVFP4).unpacked
    assert matrix_rate(B200, NVFP4).peak_flop_per_s == 9000e12
    assert matrix_rate(A100, UNIFORM["int8"].usual).peak_flop_per_s == 624e12
    assert all(matrix_rate(gpu, MXFP4).unpacked for gpu in (A100, H100, B200))
    assert matrix_rate(H100, SIXTEEN_BITS).shares.compute == 1


def test_fewer_bits_help_decodes_everywhere_and_prompts_where_there_are_units() -> None:
    one, prompt = step([], [1000]), step([(8192, 0)], [])
    for gpu in (A100, H100, L40S):
        full, eight, four = (
            AnalyticCost(gpu, dataclasses.replace(LLAMA, quantization=each))
            for each in (None, UNIFORM["fp8"], UNIFORM["int4"])
        )
        assert four.kernel_s(one) < eight.kernel_s(one) < full.kernel_s(one)
        assert full.kernel_s(prompt) < four.kernel_s(prompt)
        assert (eight.kernel_s(prompt) < full.kernel_s(prompt)) == (gpu is not A100)


def test_eight_bits_reach_less_of_their_peak_than_sixteen() -> None:
    qwen = load_model("qwen3-32b")
    prompt = step([(8192, 0)], [])
    full, eight, blocks = (
        AnalyticCost(H200, dataclasses.replace(qwen, quantization=each)).kernel_s(prompt)
        for each in (None, UNIFORM["fp8"], UNIFORM["fp8_block"])
    )
    assert full / 2 < eight < blocks < full
    # The real scheduler on measured FP8 kernels (aisimulate, issue 120): 526 ms for 8 prompts of 1024.
    several = AnalyticCost(H200, dataclasses.replace(qwen, quantization=UNIFORM["fp8_block"]))
    assert several.kernel_s(step([(1024, 0)] * 8, [])) == pytest.approx(0.526, rel=0.15)


def test_four_bits_on_an_l40s_as_measured() -> None:
    """A token by one client took 8.6 ms with GPTQ and 21.1 in 16 bits (vLLM 0.8.5.post1, Qwen2.5-7B)."""
    wide = load_model("qwen-2-7b")
    assert wide.parameters == pytest.approx(7.6e9, rel=0.01)
    small = dataclasses.replace(wide, quantization=UNIFORM["int4"])
    for model, measured_ms in ((wide, 21.1), (small, 8.6)):
        assert AnalyticCost(L40S, model).step_s(step([], [400])) * 1e3 == pytest.approx(measured_ms, rel=0.05)


def test_a_module_in_sixteen_bits_is_priced_so() -> None:
    some = Quantization("modelopt", SIXTEEN_BITS, by_name=(("model.layers.0", FP8),))
    costs = [
        AnalyticCost(H100, dataclasses.replace(LLAMA, quantization=each)).kernel_s(step([(4096, 0)], []))
        for each in (None, some, UNIFORM["fp8"])
    ]
    assert costs[0] - costs[1] == pytest.approx((costs[0] - costs[2]) / 32, rel=0.1)
    assert find_table(H100, dataclasses.replace(LLAMA, quantization=some), 1) is None
    large = load_model("llama-3.1-70b")
    assert find_table(H100, dataclasses.replace(large, quantization=UNIFORM["fp8"]), 4) is not None


def test_quantising_activations_moves_each_input_once() -> None:
    eight = dataclasses.replace(LLAMA, quantization=UNIFORM["fp8"])
    assert quantising_bytes(H100, LLAMA, 1) == 0
    assert quantising_bytes(A100, eight, 1) == 0
    inputs = 4096 + 4096 + 4096 + 14336  # of q, k and v; of o; of gate and up; of down
    assert quantising_bytes(H100, eight, 1) == 32 * 3 * inputs
    assert quantising_bytes(H100, eight, 2) == 32 * 3 * (4096 + 2048 + 4096 + 7168)


def test_what_was_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stored(H100, LLAMA) == ""
    assert estimated(H100, LLAMA, "analytic") is None
    small = dataclasses.replace(LLAMA, quantization=UNIFORM["fp8"], kv_bytes_per_value=1.0)
    assert stored(H100, small) == "weights: fp8 in 224 of 224 matrices; KV cache: 8 bits a value"
    assert "unpacked and multiplied in 16 bits" in stored(A100, small)
    assert "matrices in fp8 by the shares" in str(estimated(A100, small, "analytic"))
    assert kv_capacity(H100, small).lines()[-2] == stored(H100, small)
    config = {
        "model_type": "llama", "hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 8, "intermediate_size": 2048, "vocab_size": 32000, "max_position_embeddings": 4096,
        "quantization_config": {"quant_method": "fp8", "ignored_layers": ["self_attn"]},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "scenario.toml").write_text(
        f"hardware.model = {json.dumps(str(tmp_path))}\n[workload]\narrivals = 'burst'\nrequests = 1\n"
        "prompt_tokens = 10\noutput_tokens = 2\n"
    )
    assert cli.main(["check", str(tmp_path / "scenario.toml")]) == 0
    assert "weights: fp8 in 12 of 28 matrices; 16 bits in 16" in capsys.readouterr().out


def test_the_engine_is_told_the_checkpoints_own_method() -> None:
    _, (pool,) = pools(engine={"quantization": "bitsandbytes", "dtype": "half"})
    assert pool.model.weight_bytes < 0.5 * LLAMA.weight_bytes
    _, (pool,) = pools(engine={"quantization": "fp8"}, hardware={"quantization": "fp8_block"})
    assert {weights.name for _, weights in pool.model.matrices} == {"fp8_block"}
    with pytest.raises(
        InputError, match=r"engine\.quantization: 'awq' with llama-3.1-8b, whose weights have 16 bits"
    ):
        pools(engine={"quantization": "awq"})
    with pytest.raises(
        InputError, match=r"engine\.quantization: 'awq' .* is quantised by gptq; expected gptq"
    ):
        pools(engine={"quantization": "awq"}, hardware={"quantization": "int4"})


def test_a_run_with_eight_bits_everywhere_is_faster() -> None:
    workload = {"arrivals": "burst", "requests": 16, "prompt_tokens": 2000, "output_tokens": 50}
    took = [
        run(Scenario.model_validate({"workload": workload} | more)).summary()["latency"]["ttft_s"]["mean"]
        for more in ({}, {"hardware": {"quantization": "fp8"}, "engine": {"kv_cache_dtype": "fp8"}})
    ]
    assert took[1] < took[0]
