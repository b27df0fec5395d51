"""Attention layer by layer: what a window, a latent and a chunk's past cost, against sums made by hand."""

import dataclasses

import numpy as np
import pytest

from hardware_profiles import AnalyticCost, Model, load_gpu, load_model
from hardware_profiles.fit import bare
from hardware_profiles.layers import Layer, LayerPart, attention, latent_attention, mlp
from simulator import Scenario, run
from simulator.report.report import warnings
from tests.hardware_costs import step
from tests.model_configs import write_config

H100 = load_gpu("h100-80gb-sxm")
FIT = H100.kernel_fit
BANDWIDTH, PEAK = H100.bandwidth_bytes_per_s * FIT.kv_read_efficiency, H100.peak_flop_per_s
HIDDEN = 4096


def model(*parts: LayerPart) -> Model:
    layers = tuple(
        Layer(f"model.layers.{i}", (part, mlp(HIDDEN, 64)), HIDDEN) for i, part in enumerate(parts)
    )
    return Model("random", "here", "llama", HIDDEN, 1000, 1 << 20, False, layers, HIDDEN)


def cost(whole: Model, gpus: int = 1) -> AnalyticCost:
    return AnalyticCost(H100, whole, gpus, bare(H100.overheads()))


def latent_of(heads: int, most_keys: int | None = None) -> LayerPart:
    return latent_attention(
        HIDDEN, heads, q_rank=None, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128, most_keys=most_keys
    )


FULL = attention(HIDDEN, 32, 8, 128)
WINDOWED = attention(HIDDEN, 32, 8, 128, window=1000)


def test_a_windowed_layer_reads_its_window_and_a_full_one_everything() -> None:
    both = cost(model(FULL, WINDOWED))
    grown = both.step_s(step([], [50_000] * 8)) - both.step_s(step([], [1000] * 8))
    assert grown == pytest.approx(8 * 49_000 * 4096 / BANDWIDTH)  # the keys and values of the full layer
    grown = both.step_s(step([], [1000] * 8)) - both.step_s(step([], [500] * 8))
    assert grown == pytest.approx(8 * 500 * 2 * 4096 / BANDWIDTH)  # of both
    assert cost(model(WINDOWED)).step_s(step([], [90_000])) == cost(model(WINDOWED)).step_s(step([], [1000]))


def test_a_prompt_meets_no_more_keys_than_the_window() -> None:
    windowed, full = cost(model(*[WINDOWED] * 32)), cost(model(*[FULL] * 32))
    efficiency = FIT.prefill_attention_efficiency
    chunk = step([(4000, 20_000)], [])
    saved = full.step_s(chunk) - windowed.step_s(chunk)
    pairs = 4000 * 20_000 + 4000**2 / 2 - 4000 * 1000
    assert saved == pytest.approx(32 * 4 * 32 * 128 * pairs / (efficiency * PEAK), rel=1e-6)
    ramp = step([(1500, 0)], [])  # 1000 tokens grow into the window, 500 have it full
    pairs = 1500**2 / 2 - (1000**2 / 2 + 500 * 1000)
    saved = full.step_s(ramp) - windowed.step_s(ramp)
    assert saved == pytest.approx(32 * 4 * 32 * 128 * pairs / (efficiency * PEAK), rel=1e-6)


def test_decodes_of_a_latent_read_it_once_or_compute_with_every_head() -> None:
    def latent(heads: int) -> Model:
        return model(latent_of(heads))

    def per_token(heads: int, gpus: int = 1) -> float:
        priced = cost(latent(heads), gpus)
        return (priced.step_s(step([], [20_000])) - priced.step_s(step([], [10_000]))) / 10_000

    read_s = 2 * 576 / (H100.latent_kernels.read_efficiency * H100.bandwidth_bytes_per_s)
    assert per_token(16) == pytest.approx(read_s)
    assert per_token(16, 8) == pytest.approx(read_s)  # whole on every GPU
    flop_per_s = H100.latent_kernels.compute_efficiency * PEAK
    assert per_token(256) == pytest.approx(256 * 2 * (576 + 512) / flop_per_s)
    assert per_token(256, 8) == pytest.approx(read_s)


def test_sparse_attention_keeps_everything_and_reads_the_best() -> None:
    sparse = model(latent_of(16, 2048))
    assert sparse.kv_bytes_per_token == 2 * 576
    assert sparse.windowed_kv_bytes_per_token == 0
    priced = cost(sparse)
    assert (
        priced.step_s(step([], [60_000])) == priced.step_s(step([], [2048])) > priced.step_s(step([], [1024]))
    )


def prompt_s(priced: AnalyticCost, tokens: int, prior: int) -> float:
    """Seconds of attention of a chunk, with what a prompt of one token takes left out."""
    return priced.step_s(step([(tokens, prior)], [])) - priced.other_kernels_s(tokens, 1)


def test_prompts_of_sparse_attention_compute_all_slots_with_64_heads_at_least() -> None:
    """vLLM's one way; SGLang attends to prompts of up to as many keys as if they were not sparse."""
    dense = H100.overheads("sglang-0_5").model_copy(update={"kernel_factor": 1.0, "prefill_step_ms": 0.0})
    few, many = model(*[latent_of(16, 2048)] * 30), model(*[latent_of(128, 2048)] * 30)
    vllm, wide = cost(few), cost(many)
    grown = [prompt_s(vllm, 4000, prior) - prompt_s(vllm, 1000, prior) for prior in (0, 20_000)]
    measured = H100.latent_kernels.sparse_prompts
    slots_s = 2048 * 64 * 2 * (576 + 512) / (measured.slot_efficiency * PEAK)
    assert grown == pytest.approx([30 * 3000 * slots_s] * 2, rel=0.02)
    assert prompt_s(wide, 4000, 0) - prompt_s(vllm, 4000, 0) == pytest.approx(30 * 4000 * slots_s, rel=0.02)
    sglang = AnalyticCost(H100, few, 1, dense)
    assert prompt_s(sglang, 2000, 0) < 0.5 * prompt_s(vllm, 2000, 0)
    assert prompt_s(sglang, 2000, 100) == pytest.approx(prompt_s(vllm, 2000, 100), rel=0.05)


@pytest.mark.parametrize(
    ("name", "gpus", "tokens", "layer_ms"),
    [
        ("h200-sxm", 8, 4096, 3.16), ("h200-sxm", 2, 8192, 8.16), ("h200-sxm", 1, 8192, 13.5),
        ("h100-80gb-sxm", 8, 8192, 6.90), ("b200-sxm", 8, 8192, 5.09),
    ],
)  # fmt: skip
def test_a_sparse_layer_takes_what_was_measured(name: str, gpus: int, tokens: int, layer_ms: float) -> None:
    """DeepSeek-V3.2's attention module under vLLM 0.24.0, one prompt (aiconfigurator 0.12.0)."""
    gpu, whole = load_gpu(name), load_model("deepseek-v3.2")
    layer = whole.layers[0]
    parts = tuple(part for part in layer.parts if part.kind == "latent attention")
    alone = dataclasses.replace(whole, layers=(layer._replace(parts=parts),) * 30)
    nothing = dataclasses.replace(whole, layers=(layer._replace(parts=()),) * 30)
    with_it, without = (AnalyticCost(gpu, each, gpus, bare(gpu.overheads())) for each in (alone, nothing))
    shape = step([(tokens, 0)], [])
    assert 1e3 * (with_it.step_s(shape) - without.step_s(shape)) / 30 == pytest.approx(layer_ms, rel=0.2)


def test_nothing_was_measured_of_latents_sparse_attention_and_states() -> None:
    assert cost(model(FULL, WINDOWED)).measured_range == FIT.measured_range
    assert cost(model(FULL, latent_of(16))).measured_range is None


def test_a_chunk_long_after_the_beginning_of_its_prompt_is_outside_the_range() -> None:
    columns = {
        "prefill_tokens": np.array([8192, 8192, 0]),
        "decode_seqs": np.array([0, 0, 1]),
        "decode_context_tokens": np.array([0, 0, 20_000]),
    }
    priced = AnalyticCost(H100, dataclasses.replace(model(FULL)))
    assert priced.outside_measured_range(columns).tolist() == [False, False, False]
    columns["prefill_prior_tokens"] = np.array([16_384, 16_385, 0])
    assert priced.outside_measured_range(columns).tolist() == [False, True, False]


def test_a_prompt_of_a_million_tokens_is_extrapolated(tmp_path) -> None:
    path = write_config(
        tmp_path, model_type="qwen2", hidden_size=3584, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, intermediate_size=18944, vocab_size=152064, max_position_embeddings=1_010_000,
        dual_chunk_attention_config={"chunk_size": 262_144}, sliding_window=32_768,
    )  # fmt: skip
    result = run(
        Scenario.model_validate({
            "hardware": {"model": str(path)},
            "engine": {"tensor_parallel_size": 4},
            "workload": {"arrivals": "burst", "requests": 1, "prompt_tokens": 1_000_000, "output_tokens": 10},
        })
    )  # fmt: skip
    assert result.manifest["extrapolated_share"] > 0.98
    first, second, *_ = warnings(result.manifest, result.summary())
    assert first.startswith("extrapolated: 99.7 % of the busy time")
    assert second.endswith("'dual_chunk_attention_config': attention is priced in full, not sparse")
