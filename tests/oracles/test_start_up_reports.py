"""KV pools that real servers printed when they started, by engine version and sampler."""

import json

import pytest

from hardware_profiles import kv_capacity, load_gpu, load_model
from simulator import Scenario
from simulator.scenario.resolve import resolve_pools

QWEN_1_5B = {
    "model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151936, "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN_7B = QWEN_1_5B | {
    "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944,
    "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
V1_OF_2025 = {"name": "vllm_v1", "engine_version": "0.11.0"}
LIMITS = {"max_num_seqs": 256, "max_num_batched_tokens": 2048, "max_model_len": 4096}


def pool(gpu, model, policy, tmp_path, **engine):
    if isinstance(model, dict):
        (tmp_path / "config.json").write_text(json.dumps(model))
        model = "config.json"
    scenario = Scenario(
        hardware={"gpu": gpu, "model": model}, policy={"scheduling": policy}, engine=LIMITS | engine
    )
    (found,) = resolve_pools(scenario, tmp_path)
    return found.capacity


GPT_OSS_20B = {
    "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880, "vocab_size": 201088,
    "max_position_embeddings": 131072, "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128,
    "attention_bias": True, "tie_word_embeddings": False,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "model", "policy", "engine", "tokens", "within"),
    [
        # vLLM 0.8.5 on an L40S, Qwen2.5-7B: FlashInfer was no dependency yet
        ("l40s", QWEN_7B, V1_OF_2025, {"sampler": "pytorch"}, 444_592, 0.03),
        # vLLM 0.7.2 (V0) on an A10G, Qwen2.5-1.5B
        ("a10", QWEN_1_5B, "vllm_v0", {"max_num_batched_tokens": 4096}, 581_312, 0.03),
        # vLLM 0.19.0 on an RTX 4090, Llama-3.1-8B (LLMServingSim 5daddb2, MIT), which subtracts CUDA graphs
        ("rtx-4090", "llama-3.1-8b", "vllm_v1", {}, 2588 * 16, 0.05),
        # the same 8B on 80 GB, two public start-up logs
        ("h100-80gb-sxm", "llama-3.1-8b", "vllm_v1", {"max_num_seqs": 1024, "max_num_batched_tokens": 8192},
         27_793 * 16, 0.03),
        ("a100-80gb-sxm", "llama-3.1-8b", V1_OF_2025, {}, 27_853 * 16, 0.03),
    ],
)  # fmt: skip
def test_pools_that_start_up_logs_print(gpu, model, policy, engine, tokens, within, tmp_path):
    assert pool(gpu, model, policy, tmp_path, **engine).tokens == pytest.approx(tokens, rel=within)


def test_the_peak_that_v0_printed_is_the_sampler_s(tmp_path):
    found = pool("a10", QWEN_1_5B, "vllm_v0", tmp_path, max_num_batched_tokens=4096)
    assert found.activation_bytes / 2**30 == pytest.approx(1.40, abs=0.07)


def test_what_flashinfer_saves_of_a_small_pool():
    gpu, model = load_gpu("l4"), load_model("llama-3.1-8b")
    limits = {"max_num_seqs": 256, "max_num_batched_tokens": 2048}
    one, other = (
        kv_capacity(gpu, model, sampler=name, **limits).kv_bytes for name in ("pytorch", "flashinfer")
    )
    assert other - one == 256 * 128256 * 24


def test_the_keys_of_a_scenario_go_before_the_engine_s(tmp_path):
    usual = pool("l40s", QWEN_7B, "vllm_v1", tmp_path)
    without = pool("l40s", QWEN_7B, "vllm_v1", tmp_path, cuda_graphs_gib=0.0)
    assert without.kv_bytes - usual.kv_bytes == int(0.4 * 2**30)
    assert without.kv_bytes == pool("l40s", QWEN_7B, V1_OF_2025, tmp_path).kv_bytes
    sorts = pool("l40s", QWEN_7B, "vllm_v1", tmp_path, cuda_graphs_gib=0.0, sampler="pytorch")
    assert sorts.kv_bytes == pool("l40s", QWEN_7B, V1_OF_2025, tmp_path, sampler="pytorch").kv_bytes
    assert sorts.kv_bytes < without.kv_bytes
    on_own = pool("l40s", QWEN_7B, "vllm_v0", tmp_path, profile="vllm-0.5", max_num_batched_tokens=4096)
    on_one = pool("l40s", QWEN_7B, "vllm_v0", tmp_path, max_num_batched_tokens=4096)
    assert on_own.kv_bytes == on_one.kv_bytes


@pytest.mark.parametrize("profile", ["native", "vllm-0.24", "vllm-0.12"])
def test_a_run_of_the_old_engine_says_that_its_overheads_were_never_measured(profile):
    from simulator import run
    from simulator.report.report import report

    result = run(
        Scenario(
            engine={"profile": profile},
            policy={"scheduling": "vllm_v0"},
            workload={"arrivals": "burst", "requests": 1, "prompt_tokens": 9, "output_tokens": 2},
        )
    )
    text = " ".join(map(str, report(result.manifest, result.summary()).parts))
    assert "vllm_v0 stands for an engine whose own overheads were never measured; real servers" in text


def test_experts_in_mxfp4_are_padded_where_kernels_want_it(tmp_path):
    longest = 131_072
    limits = {"max_model_len": longest, "kv_cache_dtype": "fp8", "max_num_batched_tokens": 2048}
    limits["sampler"] = "pytorch"  # the log does not say which; with FlashInfer's it would be 3.4 requests
    found = pool("l4", GPT_OSS_20B, V1_OF_2025, tmp_path, **limits)
    assert found.weight_bytes / 2**30 == pytest.approx(12.8, abs=0.05)
    # Marlin: 3 matrices x 24 layers x 32 experts of 3072 x 2944 instead of 2880 x 2880, at 4.25 bits
    assert found.padding_bytes == 3 * 24 * 32 * (3072 * 2944 - 2880 * 2880) * 17 // 32
    # vLLM printed 2.78 requests of 131,072 tokens; it counts a chunk of 2048 tokens in the windows of each.
    blocks_of_one = longest // 16 + -(-(127 + 2048) // 16) + 1
    assert found.num_blocks / blocks_of_one == pytest.approx(2.78, rel=0.07)
    padding = {
        gpu: pool(gpu, GPT_OSS_20B, V1_OF_2025, tmp_path, **limits).padding_bytes
        for gpu in ("h100-80gb-sxm", "b200-sxm", "a100-80gb-sxm", "mi300x")
    }
    assert padding["h100-80gb-sxm"] == padding["mi300x"] == 0
    assert padding["a100-80gb-sxm"] == found.padding_bytes < padding["b200-sxm"]
    halves = pool("l4", GPT_OSS_20B, V1_OF_2025, tmp_path, **limits, tensor_parallel_size=2)
    assert halves.padding_bytes == 3 * 24 * 32 * (3072 * 1536 - 2880 * 1440) * 17 // 32
    assert pool("l4", QWEN_1_5B, V1_OF_2025, tmp_path).padding_bytes == 0
