"""Models from a Hugging Face config: their sizes, and configs that are refused."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import architectures, load_gpu, load_model
from hardware_profiles.architectures import MODEL_TYPES, family_of
from hardware_profiles.architectures.config import DecoderConfig
from hardware_profiles.huggingface import model_of
from simulator.errors import InputError
from tests.model_configs import LLAMA, write_config
from tests.oracles.test_public_models import CONFIGS, FAMILIES

# One public configuration of each family that has no smaller one.
PUBLIC = [
    CONFIGS[name]
    for name in (
        "MiniMaxAI/MiniMax-M3", "XiaomiMiMo/MiMo-V2-Flash", "google/gemma-4-26B-A4B", "zai-org/GLM-5.2",
        "nvidia/Llama-3_3-Nemotron-Super-49B-v1", "nvidia/Nemotron-H-56B-Base-8K", "stepfun-ai/Step-3.7-Flash",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct", "MiniMaxAI/MiniMax-M2.7",
    )
]  # fmt: skip


def test_hugging_face_config_equals_the_shipped_shape(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    for given in (load_model(str(path)), load_model("config.json", tmp_path), load_model(str(tmp_path))):
        assert given.parameters == load_model("llama-3.1-8b").parameters
        assert given.head_dim == 128
        assert given.name == tmp_path.name


def test_absent_kv_heads_mean_one_per_query_head(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model("config.json", tmp_path).num_key_value_heads == 32


def test_tied_embeddings_and_biases_count(tmp_path: Path) -> None:
    plain = load_model(str(write_config(tmp_path))).parameters
    tied = load_model(str(write_config(tmp_path, tie_word_embeddings=True))).parameters
    assert plain - tied == 128256 * 4096
    biased = load_model(str(write_config(tmp_path, attention_bias=True))).parameters
    assert biased - plain == 32 * (4096 + 2 * 1024 + 4096)
    qwen = load_model(str(write_config(tmp_path, model_type="qwen2"))).parameters
    assert qwen - plain == 32 * (4096 + 2 * 1024)


def test_experts_and_quantised_weights_count(tmp_path: Path) -> None:
    plain = load_model(str(write_config(tmp_path)))
    mixtral = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000}
    moe = load_model(str(write_config(tmp_path, **mixtral)))
    assert moe.parameters / 1e9 == pytest.approx(46.70, abs=0.01)  # Mixtral-8x7B, as published
    assert moe.active_linear_parameters < 0.3 * moe.linear_parameters
    qwen = {
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 768,
    }
    assert load_model(str(write_config(tmp_path, **qwen))).mlp_width == 2 * 3 * 768
    for config, bytes_per_weight in (
        ({"quant_method": "fp8"}, 1.0),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5625),
    ):
        small = load_model(str(write_config(tmp_path, quantization_config=config)))
        saved = plain.linear_parameters * (2 - bytes_per_weight)
        assert plain.weight_bytes - small.weight_bytes == saved
        assert small.kv_bytes_per_token == plain.kv_bytes_per_token


def test_every_type_that_is_named_is_described_in_its_file() -> None:
    for name in MODEL_TYPES:
        family = family_of(name)
        assert issubclass(family.config, DecoderConfig)
    files = {path.stem for path in Path(architectures.__file__).parent.glob("*.py")} - {"__init__", "config"}
    described = {
        name for file in files for name in import_module(f"hardware_profiles.architectures.{file}").FAMILIES
    }
    assert described == set(MODEL_TYPES)


def test_newer_dtype_key_and_unused_window_are_accepted(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "torch_dtype"}
    config |= {"dtype": "float16", "sliding_window": 4096, "use_sliding_window": False, "layer_types": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model("config.json", tmp_path)
    assert model.windowed_kv_bytes_per_token == 0
    assert model.weight_bytes == 2 * model.parameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quantization_config": {"quant_method": "hqq"}},
            "'quantization_config' shows weights quantised by 'hqq'",
        ),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4"}},
            "'quant_algo' is 'W4', which is not supported yet",
        ),
        ({"num_local_experts": 8}, "'num_local_experts' shows a mixture of experts, .* of type 'llama'"),
        (
            {"model_type": "mixtral", "num_local_experts": 8},
            r"'num_experts_per_tok' \(None\) must be 1 to 8",
        ),
        (
            {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 9},
            r"'num_experts_per_tok' \(9\) must be 1 to 8",
        ),
        ({"mlp_only_layers": [0]}, "'mlp_only_layers' shows a mixture of experts in some layers only"),
        ({"n_routed_experts": 64}, "'n_routed_experts' shows a mixture of routed and shared experts"),
        ({"kv_lora_rank": 512}, "'kv_lora_rank' shows multi-head latent attention"),
        ({"state_size": 16}, "'state_size' shows a state-space model"),
        ({"is_encoder_decoder": True}, "'is_encoder_decoder' shows an encoder-decoder"),
        ({"audio_config": {"depth": 2}}, "'audio_config' shows a model that takes audio"),
        (
            {"layer_types": [*["full_attention"] * 31, "linear_attention"]},
            "'layer_types' has 'linear_attention'",
        ),
        ({"layer_types": ["full_attention"]}, r"'layer_types' \(1 entries\) must have 32"),
        ({"text_config": "llama"}, r"'text_config' \('llama'\) must be a table of fields"),
        (
            {"model_type": "mamba"},
            "'model_type' is 'mamba', which is not supported yet; expected one of llama",
        ),
        ({"torch_dtype": "float8"}, "'torch_dtype' is 'float8', which is not supported yet"),
        (
            {"rope_scaling": {"type": "yarn", "factor": "4"}},
            r"'rope_scaling\.factor': expected a number above 0",
        ),
        ({"num_key_value_heads": 5}, r"'num_attention_heads' \(32\) must be a multiple of"),
        ({"hidden_size": 4100}, r"'hidden_size' \(4100\) must be a multiple of"),
        ({"hidden_size": -1}, "key 'hidden_size': .*greater than or equal to 1, got -1"),
        ({"hidden_size": "4096"}, "key 'hidden_size': .*valid integer, got '4096'"),
        ({"vocab_size": None}, "key 'vocab_size': .*valid integer, got None"),
    ],
)
def test_refused_configs_name_file_and_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_config(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as refusal:
        load_model("config.json", tmp_path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"model_type": "llama",\n "hidden_size": }', r"line 2 column 17: not valid JSON"),
        (b"[1, 2]", "expected a JSON object with model fields, found list"),
        (b"{}", "key 'model_type' is missing"),
        (b"\xff\xfe{", "expected UTF-8 text, found other bytes at offset 0"),
    ],
)
def test_bad_json(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_model("config.json", tmp_path)


def test_no_field_of_any_family_breaks_on_a_wrong_value() -> None:
    tried = refused = 0
    configs = [case["config"] for case in FAMILIES.values()] + [files["config.json"] for files in PUBLIC]
    for config in configs:
        for outer in (config, config.get("text_config")):
            for field in outer or ():
                for value in (None, "x", -1, 0, [], {}, [1]):
                    changed = outer | {field: value}
                    changed = changed if outer is config else config | {"text_config": changed}
                    tried += 1
                    try:
                        model = model_of(changed, "x", "x", "x")
                        assert model.parameters > 0
                    except InputError as error:
                        refused += 1
                        assert "\n" not in str(error)  # noqa: PT017 (most are accepted or refused, none breaks)
    assert tried > refused > 0.3 * tried


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/config\.json: cannot be read \(No such file"):
        load_model("nowhere/config.json", tmp_path)
    with pytest.raises(InputError, match=r"config\.json: cannot be read \(No such file"):
        load_model(str(tmp_path))  # a folder without one
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read \(No such file"):
        load_gpu("nowhere.toml", tmp_path)
