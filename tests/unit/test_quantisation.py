"""What a checkpoint says of the bits of its weights and of its KV cache, module by module."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import Model, load_model
from hardware_profiles.gpu import GIB
from hardware_profiles.quantisation.names import names_of
from hardware_profiles.quantisation.read import read_quantization
from simulator.errors import InputError

LLAMA_70B: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
LLAMA_405B = LLAMA_70B | {
    "hidden_size": 16384, "num_hidden_layers": 126, "num_attention_heads": 128, "intermediate_size": 53248,
}  # fmt: skip
QWEN_7B: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 32768,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_sliding_window": False,
}  # fmt: skip
SMALL = LLAMA_70B | {
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
}
INT_4 = {"num_bits": 4, "type": "int", "group_size": 128}
INT_8 = {"num_bits": 8, "type": "int", "strategy": "channel"}
FLOAT_4 = {"num_bits": 4, "type": "float", "group_size": 16}
BY_CHANNEL = {"num_bits": 8, "type": "float", "strategy": "channel"}
BY_BLOCK = BY_CHANNEL | {"strategy": "block", "block_structure": [128, 128]}
FLOAT_8 = {"num_bits": 8, "type": "float", "dynamic": False}


def model(folder: Path, config: dict[str, Any], beside: object = None, **quantization: Any) -> Model:
    if quantization:
        config = config | {"quantization_config": quantization}
    (folder / "config.json").write_text(json.dumps(config))
    if beside is not None:
        (folder / "hf_quant_config.json").write_text(json.dumps(beside))
    return load_model(str(folder))


def formats(found: Model) -> dict[str, int]:
    """The matrices of each format, over all layers."""
    count: dict[str, int] = {}
    for (_, weights), n in found.matrices.items():
        count[weights.name] = count.get(weights.name, 0) + n
    return count


def test_a_second_file_beside_the_config(tmp_path: Path) -> None:
    beside = {
        "producer": {"name": "modelopt", "version": "0.23.0"},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
    }
    found = model(tmp_path, LLAMA_70B, beside)
    assert found.weight_bytes / GIB == pytest.approx(67.7, abs=0.05)  # vLLM prints 67.72 (issue 12569)
    assert found.kv_bytes_per_token == 163_840
    assert load_model(str(tmp_path / "config.json")) == found  # the file or its folder
    both = model(tmp_path, LLAMA_70B, beside, quant_method="fp8", modules_to_not_convert=["self_attn"])
    assert formats(both) == {"16 bits": 320, "fp8": 240}
    assert both.kv_bytes_per_token == 163_840


def test_modules_left_out_of_fp8(tmp_path: Path) -> None:
    left = [f"model.layers.{i}.self_attn.{name}_proj" for i in range(126) for name in "qkvo"]
    left += [f"model.layers.{i}.mlp.{name}_proj" for i in (0, 125) for name in ("gate", "up", "down")]
    for method in ("fp8", "fbgemm_fp8"):
        found = model(tmp_path, LLAMA_405B, quant_method=method, modules_to_not_convert=left)
        # vLLM prints 57.75 a GPU of eight (issue 6746); 56.7 by the shapes.
        assert found.weight_bytes_on(8) / GIB == pytest.approx(57, rel=0.02)
        assert formats(found) == {"16 bits": 510, "fp8": 372}
        assert found.kv_bytes_per_value == 2


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": FLOAT_8},
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
        {"quant_algo": "FP8", "kv_cache_scheme": "FP8", "producer": {"name": "modelopt"}},
        {"quant_method": "fp8", "kv_cache_scheme": FLOAT_8},
        {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": FLOAT_8},
    ],
)
def test_a_kv_cache_in_eight_bits(tmp_path: Path, quantization: dict[str, Any]) -> None:
    found = model(tmp_path, QWEN_7B, **quantization)
    assert found.kv_bytes_per_token == 28 * 2 * 4 * 128
    assert model(tmp_path, QWEN_7B, **quantization | {"kv_cache_scheme": None, "kv_cache_quant_algo": None,
                 "config_groups": {"g": {"weights": FLOAT_8}}}).kv_bytes_per_value == 2  # fmt: skip


def test_four_bits_with_a_scale_and_a_zero_point_for_128(tmp_path: Path) -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}
    found = model(tmp_path, QWEN_7B, **gptq)
    assert found.weight_bytes / GIB == pytest.approx(5.18, abs=0.01)  # as vLLM 0.8.5 prints it
    awq = model(tmp_path, QWEN_7B, quant_method="awq", bits=4, group_size=128, zero_point=True)
    assert awq.weight_bytes == found.weight_bytes
    coarse = model(tmp_path, QWEN_7B, **gptq | {"group_size": -1})
    assert found.weight_bytes - coarse.weight_bytes == pytest.approx(
        found.linear_parameters * 2.5 / 128, rel=0.05
    )


def test_gptq_rules_by_module(tmp_path: Path) -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    dynamic = {r"+:.*\.0\..*gate.*": {"bits": 8, "group_size": 64}, r"-:.*\.1\.mlp.*": {}}
    found = model(tmp_path, SMALL, **gptq, dynamic=dynamic, lm_head=True)
    assert formats(found) == {"int4": 24, "int8": 1, "16 bits": 3}
    assert found.head_bytes_per_value == pytest.approx(0.5 + 2.5 / 128)
    inside = model(
        tmp_path, SMALL, **gptq, modules_in_block_to_quantize=[["self_attn.q_proj"], ["mlp.up_proj"]]
    )
    assert formats(inside) == {"int4": 8, "16 bits": 20}


def test_parts_of_names_left_out(tmp_path: Path) -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 64}
    assert formats(model(tmp_path, SMALL, **awq, modules_to_not_convert=["attn", "visual"])) == {
        "16 bits": 16,
        "int4": 12,
    }
    skipped = model(tmp_path, SMALL, quant_method="bitsandbytes", load_in_4bit=True,
                    bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head", "down_proj"])  # fmt: skip
    assert formats(skipped) == {"16 bits": 4, "int4": 24}
    rounded = model(tmp_path, SMALL, quant_method="auto-round", bits=4, group_size=128,
                    extra_config={"model.layers.0.mlp.up_proj": {"bits": 8}, ".*o_proj.*": {"bits": 16}})  # fmt: skip
    assert formats(rounded) == {"16 bits": 4, "int4": 23, "int8": 1}
    twice, once = (
        model(tmp_path, SMALL, quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=each)
        for each in (True, False)
    )
    saved = (once.weight_bytes - twice.weight_bytes) * 8 / once.linear_parameters
    assert saved == pytest.approx(0.373, abs=0.001)  # bits a parameter (QLoRA, arXiv 2305.14314, section 3)


@pytest.mark.parametrize(
    ("weights", "inputs", "packed", "name", "activations", "bits"),
    [
        (BY_CHANNEL, FLOAT_8, "", "fp8", "fp8", 8.03),
        (BY_BLOCK, FLOAT_8, "", "fp8_block", "fp8", 8.002),
        (INT_4, None, "pack-quantized", "int4", "16 bits", 4.125),
        (INT_4 | {"symmetric": False}, None, "", "int4", "16 bits", 4.156),
        (INT_4, FLOAT_8, "", "int4", "fp8", 4.125),
        (INT_8, INT_8, "", "int8", "int8", 8.016),
        (FLOAT_4, FLOAT_4, "", "nvfp4", "fp4", 4.5),
        (FLOAT_4, None, "nvfp4-pack-quantized", "nvfp4", "16 bits", 4.5),
        (FLOAT_4 | {"group_size": 32}, None, "mxfp4-pack-quantized", "mxfp4", "16 bits", 4.25),
    ],
)
def test_groups_of_compressed_tensors(
    weights: dict[str, Any], inputs: object, packed: str, name: str, activations: str, bits: float
) -> None:
    group = {"weights": weights, "input_activations": inputs, "targets": ["Linear"]}
    found = read_quantization(
        {"quant_method": "compressed-tensors", "config_groups": {"g": group}, "format": packed,
         "ignore": ["lm_head", "re:.*self_attn.*"]}, "c")  # fmt: skip
    usual = found.format_of("model.layers.0.mlp.up_proj")
    assert (usual.name, usual.activations) == (name, activations)
    assert usual.bytes_per_weight(1024, 1024) * 8 == pytest.approx(bits, abs=0.002)
    assert found.format_of("model.layers.3.self_attn.q_proj").bits == 16
    assert found.head.bits == 16


def test_a_type_for_each_module() -> None:
    found = read_quantization(
        {
            "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "kv_cache_quant_algo": "FP8",
            "quantized_layers": {
                "model.language_model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
                "model.language_model.layers.0.mlp.experts": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
                "lm_head": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
            },
        },
        "c",
    )  # fmt: skip
    assert found.format_of("model.language_model.layers.0.self_attn.q_proj").name == "fp8"
    experts = found.format_of("model.language_model.layers.0.mlp.experts.*.up_proj")
    assert (experts.name, experts.activations, found.head) == ("nvfp4", "16 bits", experts)
    assert found.format_of("model.language_model.layers.1.self_attn.q_proj").bits == 16


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (
            {"quant_method": "aqlm"},
            "weights quantised by 'aqlm', which is not supported yet; expected one of fp8,",
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "W3A5"},
            "'quant_algo' is 'W3A5', which is not supported yet",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [128]},
            "'weight_block_size' is .* expected two whole numbers",
        ),
        (
            {"quant_method": "fp8", "kv_cache_scheme": {"num_bits": 3}},
            "'kv_cache_scheme' is .*expected 8 bits",
        ),
        (
            {"quant_method": "fp8", "ignored_layers": {"a": 1}},
            "'ignored_layers': expected a list of module names",
        ),
        (
            {"quant_method": "gptq", "bits": 5},
            "'bits' is 5, which is not supported yet; expected 2 or 3 or 4 or 8",
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:(": {}}}, r"'re:\(' is no regular expression"),
        ({"quant_method": "awq", "version": "exllama"}, "'version' is 'exllama', which is not supported yet"),
        ({"quant_method": "bitsandbytes"}, "expected one of load_in_4bit and load_in_8bit to be true"),
        ({"quant_method": "compressed-tensors"}, r"'config_groups' is {}, .* expected a table of groups"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 6}}}},
            "config_groups.a': 'weights' is .* expected 8 or 4 bits of type float",
        ),
        ("fp8", r"\('fp8'\) must be a table of fields"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(quantization: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_quantization(quantization, "config.json")


NAMES = st.lists(st.sampled_from(["model", "layers", "0", "1", "10", "mlp", "self_attn", "gate", "gate_proj"]),
                 min_size=1, max_size=5).map(".".join)  # fmt: skip


@given(NAMES, NAMES)
def test_a_name_means_itself_and_what_is_below_it(parent: str, child: str) -> None:
    for listed in ([parent], [f"{parent}*"], [f"re:{parent}"], [f"{parent}."]):
        assert f"{parent}.{child}" in names_of(listed, "c")
    assert parent in names_of([parent], "c")
    assert f"language_model.model.{parent}" in names_of([f"model.language_model.{parent}"], "c")


@given(NAMES, st.sampled_from(["gate", "model.layers.1", "mlp", "layers.10"]))
def test_a_name_is_no_part_of_a_longer_one(name: str, listed: str) -> None:
    expected = f".{listed}." in f".{name}."
    assert (name in names_of([listed], "c")) == expected


@given(st.integers(0, 400), st.sampled_from(["up_proj", "w1"]))
def test_experts_are_alike(expert: int, name: str) -> None:
    module = f"model.layers.2.mlp.experts.*.{name}"
    assert module in names_of([f"model.layers.2.mlp.experts.{expert}.{name}"], "c")
    assert module in names_of(["re:.*experts.*"], "c")
    assert module not in names_of(["model.layers.2.mlp.gate"], "c")
