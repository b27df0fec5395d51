"""Public models against what others have counted, and which of them can be served."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models import PAGE, look_at_all, page, public_configs, published_parameters
from hardware_profiles import Model, kv_capacity, load_gpu
from hardware_profiles.huggingface import model_of
from simulator.errors import InputError

FAMILIES: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data/model_families.json").read_text())
CONFIGS = public_configs()
PUBLISHED = published_parameters()


def plain(name: str) -> Model:
    """The public model, its weights in 16 bits."""
    config = dict(CONFIGS[name]["config.json"])
    config.pop("quantization_config", None)
    if "text_config" in config:
        config["text_config"] = {
            key: value for key, value in config["text_config"].items() if key != "quantization_config"
        }
    return model_of(config, name, name, name)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_those_that_others_have_counted(name: str) -> None:
    parameters, source = PUBLISHED[name]
    assert source
    assert plain(name).parameters == parameters


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_other_families_have_the_parameters_of_their_checkpoints(name: str) -> None:
    assert model_of(FAMILIES[name]["config"], name, name, name).parameters == FAMILIES[name]["parameters"]


def kv_values(config: dict[str, Any]) -> int | None:
    """KV values of a token, straight from the fields; None where it takes more than a product."""
    config = config.get("text_config") or config
    layers = config.get("num_hidden_layers")
    if "index_head_dim" in config or "sparse_attention_config" in config:
        return None
    if "kv_lora_rank" in config:
        return layers * (config["kv_lora_rank"] + config["qk_rope_head_dim"])
    if config["model_type"] in ("nemotron-nas", "mimo_v2_flash", "gemma4_text"):
        return None
    heads = config["num_key_value_heads"]
    dim = config.get("head_dim") or config.get("attention_head_dim") or config["hidden_size"] // config[
        "num_attention_heads"
    ]  # fmt: skip
    kinds = (
        config.get("layer_types") or config.get("layers_block_type") or config.get("hybrid_override_pattern")
    )
    if kinds:
        layers = sum(kind in ("full_attention", "sliding_attention", "attention", "*") for kind in kinds)
    return int(2 * layers * heads * dim)


def test_kv_bytes_follow_from_the_fields_of_the_config() -> None:
    checked = 0
    for name, files in CONFIGS.items():
        try:
            model = plain(name)
        except InputError:
            continue
        values = kv_values(files["config.json"])
        if values is not None:
            assert model.kv_bytes_per_token == 2 * values, name
            checked += 1
    assert checked >= 55


def test_kv_bytes_that_take_more_than_a_product() -> None:
    # DeepSeek V3.2: a latent of 512 and 64 rotated values, and 128 one-byte keys with a scale of 4 bytes.
    assert plain("deepseek-ai/DeepSeek-V3.2").kv_bytes_per_token == 61 * (2 * 576 + 132)
    # GLM-5.2 has an indexer in 21 of 78 layers.
    assert plain("zai-org/GLM-5.2").kv_bytes_per_token == 78 * 2 * 576 + 21 * 132
    # MiMo-V2-Flash: 9 full layers of 4 heads, 39 windowed ones of 8; keys of 192, values of 128.
    mimo = plain("XiaomiMiMo/MiMo-V2-Flash")
    assert mimo.kv_bytes_per_token == 2 * 320 * (9 * 4 + 39 * 8)
    assert mimo.windowed_kv_bytes_per_token == 2 * 320 * 39 * 8
    # Gemma 4 26B: 5 full layers of 2 heads of 512, 25 windowed ones of 8 heads of 256.
    gemma = plain("google/gemma-4-26B-A4B")
    assert gemma.kv_bytes_per_token == 2 * 2 * (5 * 2 * 512 + 25 * 8 * 256)
    assert gemma.windowed_kv_bytes_per_token == 2 * 2 * 25 * 8 * 256
    # Nemotron Super: 49 of 80 layers attend, with 8 KV heads of 128.
    assert plain("nvidia/Llama-3_3-Nemotron-Super-49B-v1").kv_bytes_per_token == 2 * 2 * 49 * 8 * 128
    # gpt-oss-20b: half of 24 layers keep 128 tokens.
    assert plain("openai/gpt-oss-20b").windowed_kv_bytes_per_token == 24_576


def test_states_do_not_depend_on_the_length() -> None:
    # Qwen3.5-27B: 48 layers of 48 heads with 128 x 128 values of 4 bytes, and 3 inputs of a convolution over 10,240.
    assert plain("Qwen/Qwen3.5-27B").state_bytes == 48 * (48 * 128 * 128 * 4 + 3 * 10_240 * 2)
    assert plain("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").state_bytes == 23 * (
        64 * 64 * 128 * 4 + 3 * 6144 * 2
    )
    assert plain("Qwen/Qwen3-8B").state_bytes == 0


def test_all_that_is_described_fits_eight_gpus_in_8_bits() -> None:
    gpu, fitted = load_gpu("b200-sxm"), 0
    for name in CONFIGS:
        try:
            model = plain(name)
        except InputError as error:
            assert "not supported yet" in str(error)  # noqa: PT017 (all the others load)
            continue
        config = dict(CONFIGS[name]["config.json"]) | {"quantization_config": {"quant_method": "fp8"}}
        small = model_of(config, name, name, name)
        assert small.parameters == model.parameters
        fitted += kv_capacity(gpu, small, tensor_parallel=8).num_blocks > 0
    assert fitted >= 75


def test_the_page_says_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    models = look_at_all()
    assert page(text, models) == text, "renew it: python -m benchmarks.models"
    refused = [each for each in models if each.priced.startswith("refused")]
    assert len(models) - len(refused) >= 75
    assert all("not supported yet" in each.priced or "does not fit" in each.priced for each in refused)
