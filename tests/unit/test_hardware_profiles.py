"""Loading GPU and model profiles: what ships, what a user may give by path, and how bad input is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import find_table, list_gpus, list_models, list_tables, load_gpu, load_model, step_cost
from hardware_profiles.files import PACKAGE_DIR, read_toml
from hardware_profiles.fit import step_shape
from hardware_profiles.tables import make_table, read_table, write_table
from simulator.errors import InputError

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rope_scaling": {"factor": 8.0},
}


def write_config(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**LLAMA, **changes}))
    return path


@pytest.mark.parametrize("name", list_gpus())
def test_every_shipped_gpu_loads_and_states_its_origin(name: str) -> None:
    gpu = load_gpu(name)
    assert gpu.name == name
    assert gpu.usd_per_hour > 0
    assert gpu.validated
    blocks = [gpu.datasheet, gpu.price, gpu.engine_defaults, gpu.kernel_fit, gpu.host_link, gpu.all_reduce]
    blocks += [gpu.mixed_batch, gpu.operator_tables, *gpu.engine_overheads.values()]
    for block in filter(None, blocks):
        assert block.source
        assert block.licence
        assert block.date.year >= 2025
    assert {overheads.asynchronous for overheads in gpu.engine_overheads.values()} == {True, False}
    measured = gpu.kernel_fit.measured_range is not None
    assert measured == (gpu.kernel_fit.error is not None) == (gpu.operator_tables is not None)
    assert measured == bool(list_tables(gpu)) == (not gpu.validated.startswith("not validated"))


@pytest.mark.parametrize("name", list_models())
def test_every_shipped_model_has_its_published_size(name: str) -> None:
    published = read_toml(PACKAGE_DIR / "models" / f"{name}.toml")["published_parameters_billion"]
    assert load_model(name).parameters / 1e9 == pytest.approx(published, abs=0.006)


def test_shipped_profiles_include_the_four_of_the_default_scenarios() -> None:
    assert {"a100-80gb-sxm", "h100-80gb-sxm"} <= set(list_gpus())
    assert {"llama-3.1-8b", "qwen-2.5-14b"} <= set(list_models())


def test_units() -> None:
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b")
    assert gpu.peak_flop_per_s == 989e12
    assert gpu.bandwidth_bytes_per_s == 3.35e12
    assert 79e9 * 1.07 < gpu.memory_bytes < 80e9 * 1.07  # GiB, a little below the marketed 80
    assert gpu.overheads().frontend_s == 0.0076
    assert gpu.overheads() == gpu.overheads("vllm-0_15-async") == gpu.overheads(asynchronous=True)
    assert gpu.overheads(asynchronous=False) == gpu.overheads("vllm-0_12-sync")
    with pytest.raises(
        InputError, match=r"'vllm-9' is not in h100.*expected one of vllm-0_15-async, vllm-0_12-sync"
    ):
        gpu.overheads("vllm-9")
    assert model.kv_bytes_per_token == 131072
    assert model.weight_bytes == 2 * model.parameters == 2 * 8_030_261_248


@pytest.mark.parametrize(
    ("gpu", "tokens", "seqs"),
    [
        ("a100-80gb-sxm", 2048, 256),
        ("l40s", 2048, 256),
        ("h100-80gb-sxm", 8192, 1024),
        ("b200-sxm", 8192, 1024),
    ],
)
def test_engine_defaults_follow_vllm(gpu: str, tokens: int, seqs: int) -> None:
    profile = load_gpu(gpu)
    assert (profile.default_max_num_batched_tokens, profile.default_max_num_seqs) == (tokens, seqs)


@pytest.mark.parametrize(
    ("load", "name", "nearest"),
    [
        (load_gpu, "h100-80gb-smx", "h100-80gb-sxm"),
        (load_gpu, "H100", "h100-80gb-sxm"),
        (load_model, "qwen2.5-14b", "qwen-2.5-14b"),
        (load_model, "meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
    ],
)
def test_unknown_name_suggests_the_nearest(load: Any, name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=rf"unknown \w+ '{name}'.*did you mean '{nearest}'\?"):
        load(name)


def test_own_gpu_by_path(tmp_path: Path) -> None:
    text = (PACKAGE_DIR / "gpus" / "h100-80gb-sxm.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("usd_per_hour = 3.99", "usd_per_hour = 2"))
    assert load_gpu("mine.toml", tmp_path).usd_per_hour == 2
    assert load_gpu(str(tmp_path / "mine.toml")).usd_per_hour == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("peak_bf16_tflops = 989.0\n", "", r"mine\.toml: key 'datasheet\.peak_bf16_tflops' is missing"),
        (
            "usd_per_hour = 3.99",
            "usd_per_hour = -1",
            r"key 'price\.usd_per_hour': .*greater than or equal to 0, got -1",
        ),
        ("usd_per_hour = 3.99", "usd_per_hour = nan", r"key 'price\.usd_per_hour': .*finite"),
        (
            "kv_read_efficiency",
            "kv_efficiency",
            r"mine\.toml: (unknown key|key) 'kernel_fit\.kv_(read_)?efficiency'",
        ),
        ("[price]", "[price", r"mine\.toml: not valid TOML .*line \d+"),
    ],
)
def test_malformed_gpu_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (PACKAGE_DIR / "gpus" / "h100-80gb-sxm.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_gpu("mine.toml", tmp_path)


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
    assert load_model(str(write_config(tmp_path, **qwen))).intermediate_size == 768
    for config, bytes_per_weight in (
        ({"quant_method": "fp8"}, 1.0),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5625),
    ):
        small = load_model(str(write_config(tmp_path, quantization_config=config)))
        saved = plain.linear_parameters * (2 - bytes_per_weight)
        assert plain.weight_bytes - small.weight_bytes == saved
        assert small.kv_bytes_per_token == plain.kv_bytes_per_token


def test_own_tables_beside_an_own_profile(tmp_path: Path) -> None:
    shipped = PACKAGE_DIR / "gpus" / "h100-80gb-sxm.toml"
    text = shipped.read_text().replace('folder = "h100-80gb-sxm"', 'folder = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    gpu, model = load_gpu("mine.toml", tmp_path), load_model("llama-3.1-8b")
    assert list_tables(gpu) == []
    rows = {
        "linear": [(1, 0, 0, 0, 5.0), (2048, 0, 0, 0, 40.0)],
        "elementwise": [(1, 0, 0, 0, 0.5), (2048, 0, 0, 0, 4.0)],
        "lm_head": [(0, 0, 1, 0, 0.4), (0, 0, 64, 0, 0.6)],
        "attention": [
            *((n, 0, 0, 0, n / 1000) for n in (16, 2048)),
            *((0, 0, b, c, b * c / 1e5) for b in (1, 64) for c in (128, 4096)),
        ],
    }
    path = tmp_path / "tables" / "mine" / "llama-3.1-8b.tp1.csv.gz"
    write_table(path, rows)
    first = path.read_bytes()
    write_table(path, rows)
    assert path.read_bytes() == first
    assert list_tables(gpu) == [("llama-3.1-8b", 1)]
    assert find_table(gpu, model, 2) is None
    cost = step_cost(gpu, model)
    assert cost.kind == "tabulated"
    assert cost.kernel_s(step_shape([], 64, 4096)) * 1e3 == pytest.approx(
        0.6 + 2.62144 + 5.5 + 38.5 * 63 / 2047, rel=1e-4
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "expected at least 2 rows of part 'linear'"),
        ({"linear": [(1, 0, 0, 0, -1.0), (2, 0, 0, 0, 1.0)]}, "part 'linear' has values that are negative"),
        (
            {"lm_head": [(0, 0, 1, 0, float("nan"))]},
            "part 'lm_head' has values that are negative or not finite",
        ),
    ],
)
def test_bad_tables(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"mine: .*{message}"):
        make_table("mine", rows)


def test_damaged_table_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tp1.csv.gz"
    for content in (b"no gzip", gzip.compress(b"a,b\n1,2\n"), gzip.compress(b"\xff\xfe")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.tp1\.csv\.gz: (expected the columns|cannot be read)"):
            read_table(path)
    header = b"part,new_tokens,prior_tokens,sequences,context_tokens,ms\n"
    for line in (b"linear,1,0,0,0,fast\n", b"magic,1,0,0,0,1\n", b"linear,1,0\n"):
        path.write_bytes(gzip.compress(header + line))
        with pytest.raises(InputError, match=r"x\.tp1\.csv\.gz: "):
            read_table(path)


def test_the_shipped_hardware_is_small() -> None:
    size = sum(
        path.stat().st_size for path in PACKAGE_DIR.rglob("*") if path.suffix in (".gz", ".toml", ".py")
    )
    assert size < 2.5e6


def test_newer_dtype_key_and_unused_window_are_accepted(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "torch_dtype"}
    config |= {"dtype": "float16", "sliding_window": 4096, "use_sliding_window": False, "layer_types": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model("config.json", tmp_path).torch_dtype == "float16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "'quantization_config' shows weights quantised by 'gptq'",
        ),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4"}},
            "quantised by 'modelopt'",
        ),
        ({"num_local_experts": 8}, r"'num_experts_per_tok' \(None\) must be 1 to 8"),
        ({"num_experts": 8, "num_experts_per_tok": 9}, r"'num_experts_per_tok' \(9\) must be 1 to 8"),
        (
            {"num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2},
            r"'decoder_sparse_step' \(2\) shows experts in some layers only",
        ),
        ({"mlp_only_layers": [0]}, "'mlp_only_layers' shows a mixture of experts in some layers only"),
        ({"n_routed_experts": 64}, "'n_routed_experts' shows a mixture of routed and shared experts"),
        ({"kv_lora_rank": 512}, "'kv_lora_rank' shows multi-head latent attention"),
        ({"state_size": 16}, "'state_size' shows a state-space model"),
        ({"is_encoder_decoder": True}, "'is_encoder_decoder' shows an encoder-decoder"),
        ({"vision_config": {"depth": 2}}, "'vision_config' shows a multimodal model"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "'layer_types' has 'sliding_attention'"),
        (
            {"model_type": "mamba"},
            "'model_type' is 'mamba', which is not supported yet; expected one of llama",
        ),
        ({"torch_dtype": "float32"}, "'torch_dtype' is 'float32', which is not supported yet"),
        ({"sliding_window": 4096}, r"'sliding_window' \(4096\) limits attention, which is not supported yet"),
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


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/config\.json: cannot be read \(No such file"):
        load_model("nowhere/config.json", tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read \(No such file"):
        load_gpu("nowhere.toml", tmp_path)
