"""Loading GPU and model profiles: what ships, what may be given by path, and how bad input is refused."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import find_table, list_gpus, list_models, list_tables, load_gpu, load_model, step_cost
from hardware_profiles.files import PACKAGE_DIR, read_toml
from hardware_profiles.fit import step_shape
from hardware_profiles.tables import make_table, read_table, write_table
from simulator.errors import InputError


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


def test_a_profile_is_made_once_of_the_same_text_and_anew_of_another(tmp_path: Path) -> None:
    assert load_gpu("l40s") is load_gpu("l40s")
    assert load_model("llama-3.1-8b") is load_model("llama-3.1-8b")
    path, text = tmp_path / "mine.toml", (PACKAGE_DIR / "gpus" / "l40s.toml").read_text(encoding="utf-8")
    for price in ("0.25", "0.75"):
        path.write_text(re.sub(r"(?m)^usd_per_hour = .*", f"usd_per_hour = {price}", text), encoding="utf-8")
        assert load_gpu(str(path)).usd_per_hour == float(price)


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
        (load_gpu, "H10", "h100-80gb-sxm"),
        (load_model, "qwen2.5-14b", "qwen-2.5-14b"),
        (load_model, "meta-llama/Llama-3.2-8B", "llama-3.1-8b"),
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
