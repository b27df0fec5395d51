"""The KV-cache sum: sizes that real servers printed, its laws, and its refusals."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import Gpu, kv_capacity, list_gpus, load_gpu, load_model, resolve_max_model_len
from simulator.errors import InputError

H100 = load_gpu("h100-80gb-sxm")
GPUS = [gpu for gpu in map(load_gpu, list_gpus()) if gpu.memory_bytes > 35e9]  # llama-3.1-8b fits 60 % of it
LLAMA = load_model("llama-3.1-8b")


@pytest.mark.parametrize("gpu", ["a100-80gb-sxm", "h100-80gb-sxm"])
@pytest.mark.parametrize(("model", "tokens"), [("llama-3.1-8b", 445_000), ("qwen-2.5-14b", 228_000)])
def test_eighty_gigabytes_hold_about_this_many_tokens(gpu: str, model: str, tokens: int) -> None:
    assert kv_capacity(load_gpu(gpu), load_model(model)).tokens == pytest.approx(tokens, rel=0.03)


def test_blocks_that_vllm_printed_on_h100(tmp_path: Path) -> None:
    # vLLM 0.15.1, 2048 tokens and 128 sequences a step (inference-sim, Apache-2.0).
    llama = kv_capacity(
        H100, load_model("llama-2-70b"), tensor_parallel=4, max_num_batched_tokens=2048, max_num_seqs=128
    )
    assert llama.num_blocks == pytest.approx(31_357, rel=0.005)
    config = {
        "model_type": "llama",
        "hidden_size": 8192,
        "num_hidden_layers": 48,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 22016,
        "vocab_size": 32000,
        "max_position_embeddings": 16384,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    codellama = load_model("config.json", tmp_path)
    assert codellama.parameters == pytest.approx(33.74e9, rel=0.001)
    printed = kv_capacity(H100, codellama, tensor_parallel=2, max_num_batched_tokens=2048, max_num_seqs=128)
    assert printed.num_blocks == pytest.approx(26_603, rel=0.005)


def test_every_term_adds_up_and_is_printed() -> None:
    kv = kv_capacity(H100, LLAMA)
    assert kv.budget_bytes == kv.weight_bytes + kv.reserve_bytes + kv.kv_bytes
    used = kv.num_blocks * kv.block_size * kv.kv_bytes_per_token
    assert 0 <= kv.kv_bytes - used < kv.block_size * kv.kv_bytes_per_token
    text = kv.explain()
    assert "71.30 GiB" in text
    assert "weights of llama-3.1-8b" in text
    assert f"{kv.num_blocks:,} blocks of 16 tokens = {kv.tokens:,} tokens at 128 KiB" in text
    assert "num_gpu_blocks" not in text


def test_override_replaces_the_blocks_and_says_so() -> None:
    kv = kv_capacity(H100, LLAMA, num_gpu_blocks=1000)
    assert kv.overridden
    assert (kv.num_blocks, kv.tokens) == (1000, 16_000)
    assert "given by num_gpu_blocks, not by this sum" in kv.explain()
    assert not kv_capacity(H100, LLAMA).overridden


@given(
    gpu=st.sampled_from(GPUS),
    utilization=st.floats(0.6, 0.95),
    tokens=st.integers(256, 16_384),
    seqs=st.integers(1, 1024),
    block_size=st.sampled_from([8, 16, 32]),
)
def test_more_memory_never_holds_less_and_more_reserve_never_more(
    gpu: Gpu, utilization: float, tokens: int, seqs: int, block_size: int
) -> None:
    def held(utilization: float, tokens: int, seqs: int) -> int:
        return kv_capacity(
            gpu,
            LLAMA,
            gpu_memory_utilization=utilization,
            block_size=block_size,
            max_num_batched_tokens=tokens,
            max_num_seqs=seqs,
        ).tokens

    base = held(utilization, tokens, seqs)
    assert base % block_size == 0
    assert held(utilization + 0.05, tokens, seqs) > base
    assert held(utilization, tokens * 2, seqs) <= base
    assert held(utilization, tokens, seqs * 2) <= base


def test_a_model_that_does_not_fit_is_refused_with_the_sum() -> None:
    with pytest.raises(InputError) as refusal:
        kv_capacity(H100, load_model("llama-3.1-70b"))
    assert str(refusal.value) == (
        "model llama-3.1-70b does not fit h100-80gb-sxm: weights 131.4 GiB + reserve 2.3 GiB leave no room"
        " for KV cache in 71.3 GiB = 0.9 x 79.2 GiB"
    )
    with pytest.raises(InputError, match="does not fit"):
        kv_capacity(H100, load_model("llama-3.1-70b"), num_gpu_blocks=1000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpu_memory_utilization": 0.0}, "gpu_memory_utilization must be above 0 and at most 1, got 0.0"),
        ({"gpu_memory_utilization": float("nan")}, "gpu_memory_utilization .* got nan"),
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
        ({"max_num_seqs": 0}, "max_num_seqs must be at least 1, got 0"),
        ({"max_num_batched_tokens": -5}, "max_num_batched_tokens must be at least 1, got -5"),
        ({"num_gpu_blocks": 0}, "num_gpu_blocks must be at least 1, got 0"),
        ({"tensor_parallel": 3}, r"tensor_parallel = 3 must divide the query heads of llama-3.1-8b \(32\)"),
    ],
)
def test_values_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kv_capacity(H100, LLAMA, **settings)  # type: ignore[arg-type]


def test_max_model_len() -> None:
    assert resolve_max_model_len(LLAMA, 442_944, None) == 131_072
    assert resolve_max_model_len(LLAMA, 16_000, None) == 16_000
    assert resolve_max_model_len(LLAMA, 16_000, 16_000) == 16_000
    with pytest.raises(
        InputError, match="max_model_len = 16001 is more than the 16000 tokens that the KV cache"
    ):
        resolve_max_model_len(LLAMA, 16_000, 16_001)
    with pytest.raises(
        InputError, match=r"max_model_len = 131073 is more than the 131072 positions of llama"
    ):
        resolve_max_model_len(LLAMA, 442_944, 131_073)
    with pytest.raises(InputError, match="max_model_len must be at least 1, got 0"):
        resolve_max_model_len(LLAMA, 442_944, 0)
