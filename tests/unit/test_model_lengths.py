"""How long a request may be, how many GPUs may share a model, and what is said where neither holds."""

from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import kv_capacity, load_gpu, load_model, resolve_max_model_len
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.report.report import warnings
from tests.model_configs import write_config

H200 = load_gpu("h200-sxm")


@pytest.mark.parametrize(
    ("rope", "longest"),
    [
        (None, 32_768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, 131_072),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}, 32_768),
        ({"rope_type": "yarn", "factor": 2}, 65_536),
        ({"type": "linear", "factor": 4.0}, 131_072),
        ({"rope_type": "dynamic", "factor": 2.0}, 65_536),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32_768),
        ({"type": "longrope", "factor": 4.0, "long_factor": [1.0]}, 32_768),
        ({"type": "su", "factor": 4.0}, 32_768),
        ({"rope_type": "default", "mrope_section": [24, 20, 20]}, 32_768),
        ({"type": "mrope", "mrope_section": [16, 24, 24]}, 32_768),
        (
            {
                "full_attention": {"rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_type": "default"},
            },
            262_144,
        ),
        ({"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25}}, 32_768),
    ],
)
def test_rope_scaling_stretches_the_window_as_vllm_does(
    tmp_path: Path, rope: dict[str, Any] | None, longest: int
) -> None:
    for key in ("rope_scaling", "rope_parameters"):  # transformers 4 and 5
        model = load_model(
            str(write_config(tmp_path, **{"rope_scaling": None, key: rope}, max_position_embeddings=32_768))
        )
        assert model.max_position_embeddings == longest
        assert resolve_max_model_len(model, 10**6, None) == longest
        assert resolve_max_model_len(model, 10**6, longest) == longest
        with pytest.raises(InputError, match=f"more than the {longest} positions"):
            resolve_max_model_len(model, 10**6, longest + 1)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        (
            {"rope_type": "magic", "factor": 4.0},
            "'rope_scaling' is of type 'magic', which is not supported yet",
        ),
        ({"rope_type": "yarn"}, r"'rope_scaling\.factor': expected a number above 0, got None"),
        ({"full_attention": {"type": "linear", "factor": "4"}}, "expected a number above 0, got '4'"),
    ],
)
def test_a_scaling_that_is_not_understood_is_refused(
    tmp_path: Path, rope: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(str(write_config(tmp_path, rope_scaling=rope)))


def test_a_longer_request_may_be_asked_for_where_the_config_allows_it(tmp_path: Path) -> None:
    path = write_config(tmp_path, max_position_embeddings=8192, model_max_length=131_072)
    model = load_model(str(path))
    assert resolve_max_model_len(model, 10**6, None) == 8192
    assert resolve_max_model_len(model, 10**6, 131_072) == 131_072


def test_float32_is_served_in_16_bits(tmp_path: Path) -> None:
    single = load_model(str(write_config(tmp_path, torch_dtype="float32")))
    assert single.weight_bytes == 2 * single.parameters
    assert single.kv_bytes_per_token == load_model("llama-3.1-8b").kv_bytes_per_token


def test_kv_heads_are_copied_where_there_are_more_gpus(tmp_path: Path) -> None:
    model = load_model(str(write_config(tmp_path, num_key_value_heads=2)))
    four, eight, two = (kv_capacity(H200, model, tensor_parallel=size) for size in (4, 8, 2))
    assert two.kv_bytes_per_token == four.kv_bytes_per_token == eight.kv_bytes_per_token == 2 * 128 * 32 * 2
    projections = 2 * 4096 * 256 * 2 * 32  # bytes of all k and v projections
    assert two.weight_bytes == model.weight_bytes // 2
    assert four.weight_bytes == model.weight_bytes // 4 + projections // 4
    assert eight.weight_bytes == model.weight_bytes // 8 + 3 * projections // 8


def test_case_tp_above_kv_heads() -> None:
    fields = {
        "model_type": "qwen3_moe", "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1536,
        "quantization_config": {"quant_method": "fp8"},
    }  # fmt: skip
    from hardware_profiles.huggingface import model_of

    model = model_of(fields | {"max_position_embeddings": 40960}, "qwen", "here", "here")
    eight = kv_capacity(H200, model, tensor_parallel=8)
    assert (
        eight.kv_bytes_per_token == 48_128 == kv_capacity(H200, model, tensor_parallel=4).kv_bytes_per_token
    )
    assert eight.weight_bytes / 2**30 == pytest.approx(27.56, abs=0.01)


def test_windows_by_layer(tmp_path: Path) -> None:
    def windowed(**changes: Any) -> int:
        return load_model(str(write_config(tmp_path, **changes))).windowed_kv_bytes_per_token // (
            2 * 2 * 1024
        )

    assert windowed(model_type="mistral", sliding_window=4096) == 32
    assert "every layer has a window" in load_model(str(tmp_path)).left_out[0]
    assert windowed(model_type="mistral", sliding_window=131_072) == 0  # as long as the longest request
    assert windowed(model_type="gemma2", sliding_window=4096) == 16
    assert windowed(model_type="gemma3_text", sliding_window=512) == 27
    assert (
        windowed(model_type="qwen2", sliding_window=4096, use_sliding_window=True, max_window_layers=20) == 12
    )
    assert windowed(model_type="qwen2", sliding_window=4096, use_sliding_window=False) == 0
    assert (
        windowed(model_type="qwen2", sliding_window=4096, max_window_layers=20) == 0
    )  # off unless switched on
    kinds = ["sliding_attention"] * 30 + ["full_attention"] * 2
    assert windowed(model_type="qwen3", sliding_window=4096, use_sliding_window=True, layer_types=kinds) == 30


def test_a_run_says_what_it_leaves_out_of_its_model(tmp_path: Path) -> None:
    path = write_config(tmp_path, model_type="mistral", sliding_window=4096)
    traffic = {"arrivals": "burst", "requests": 2, "prompt_tokens": 5, "output_tokens": 5}
    result = run(Scenario(hardware={"model": str(path)}, workload=traffic))
    assert any("every layer has a window" in text for text in warnings(result.manifest, result.summary()))
