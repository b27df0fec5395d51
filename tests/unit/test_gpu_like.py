"""GPU files that are like a shipped GPU: what they take over, what they do not claim, how they are refused."""

from pathlib import Path

import pytest

from hardware_profiles import list_gpus, list_tables, load_gpu, load_model, step_cost
from hardware_profiles.fit import step_shape
from hardware_profiles.gpu_file import write_fitted, write_gpu
from simulator import Scenario, run
from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.report.profile_listing import profile_text

FIVE_NUMBERS = """
name = "mine"
like = "l40s"
datasheet.memory_total_gib = 31.0
datasheet.memory_bandwidth_tb_per_s = 1.79
datasheet.peak_bf16_tflops = 210.0
host_link.bandwidth_gb_per_s = 50.0
price.usd_per_hour = 0.9
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FIVE_NUMBERS)
    return path


def test_five_numbers_of_a_data_sheet_are_a_gpu(mine: Path) -> None:
    gpu, other = load_gpu("mine.toml", mine.parent), load_gpu("l40s")
    assert (gpu.name, gpu.like, gpu.usd_per_hour) == ("mine", "l40s", 0.9)
    assert gpu.bandwidth_bytes_per_s == 1.79e12
    assert gpu.host_link.bandwidth_gb_per_s == 50.0
    assert gpu.datasheet.peak_fp8_tflops is None  # of the other's data sheet
    assert gpu.kernel_fit.kv_read_efficiency == other.kernel_fit.kv_read_efficiency
    assert gpu.overheads().step_ms == other.overheads().step_ms
    model = load_model("llama-3.1-8b")
    decode = step_shape((), 8, 2048)
    assert step_cost(gpu, model).step_s(decode) < step_cost(other, model).step_s(decode)
    scenario = Scenario.model_validate(
        {
            "hardware": {"gpu": "mine.toml"},
            "workload": {
                "arrivals": "poisson",
                "rate_rps": 2.0,
                "requests": 20,
                "prompt_tokens": 500,
                "output_tokens": 20,
            },
        }
    )
    summary = run(scenario, base_dir=mine.parent).summary()
    assert summary["states"]["completed"]["count"] == 20
    assert summary["engine"]["extrapolated_share"] == 1.0


def test_nothing_measured_on_the_other_is_claimed(mine: Path) -> None:
    gpu = load_gpu(str(mine))
    assert gpu.operator_tables is gpu.kernel_fit.error is gpu.kernel_fit.measured_range is None
    assert list_tables(gpu) == []
    assert step_cost(gpu, load_model("llama-3.1-8b")).kind == "analytic"
    assert gpu.validated == "not validated: derived from l40s; nothing was measured on this GPU"
    assert gpu.kernel_fit.fitted_on.endswith("nothing on this GPU")
    assert gpu.kernel_fit.source.startswith("that of l40s (")
    assert gpu.overheads().remark.startswith("Of l40s: ")
    assert gpu.price.source.startswith("usd_per_hour: given without a source; the rest: that of l40s (")


def test_it_is_said_of_whom_a_gpu_is_derived(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = str(profile_text(load_gpu(str(mine)), load_model("llama-3.1-8b")))
    assert "derived from: l40s, for all that its own file does not give" in text
    assert cli.main(["list", "gpus"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "mi300x" in line]
    assert line.endswith("; derived from h100-80gb-sxm")


def test_a_fit_of_its_own_stays(mine: Path) -> None:
    grid = "max_prefill_tokens = 8, max_decode_seqs = 4, min_decode_context_tokens = 0, max_decode_context_tokens = 9"
    mine.write_text(f"{FIVE_NUMBERS}\nvalidated = 'here'\n[kernel_fit]\nmeasured_range = {{ {grid} }}\n")
    gpu = load_gpu(str(mine))
    assert gpu.validated == "here"
    assert gpu.kernel_fit.measured_range is not None
    write_gpu(gpu, mine.parent / "written.toml")
    again = load_gpu(str(mine.parent / "written.toml"))
    assert again.like is None
    assert again.model_dump(exclude={"like"}) == gpu.model_dump(exclude={"like"})


def test_shipped_gpus_are_like_measured_ones() -> None:
    derived = [gpu for gpu in map(load_gpu, list_gpus()) if gpu.like is not None]
    assert {gpu.name for gpu in derived} == {"a10", "a100-40gb", "l4", "mi300x"}
    for gpu in derived:
        assert load_gpu(gpu.like or "").kernel_fit.error is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"l40s"', '"l40"', r"mine\.toml: key 'like': expected one of a10, .*, got 'l40'; did you mean 'l40s'\?"),
        ('"l40s"', "3", r"mine\.toml: key 'like': expected one of a10, .*, got 3$"),
        ('"l40s"', '"mine.toml"', r"mine\.toml: key 'like': expected one of a10, .*, got 'mine\.toml'"),
        ('"l40s"', '"l4"', r"mine\.toml: key 'like': 'l4' is itself like 'l40s'; expected a GPU that is given in full"),
        ('name = "mine"\n', "", r"mine\.toml: key 'name' is missing"),
        ("price.usd_per_hour = 0.9", "price = 3", r"mine\.toml: key 'price': .*got 3"),
        ("price.usd_per_hour", "price.usd", r"mine\.toml: unknown key 'price\.usd'"),
        ("datasheet.memory_total_gib = 31.0", "", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(mine: Path, old: str, new: str, message: str | None) -> None:
    mine.write_text(FIVE_NUMBERS.replace(old, new))
    if message is None:
        assert load_gpu(str(mine)).memory_bytes == load_gpu("l40s").memory_bytes
        return
    with pytest.raises(InputError, match=message):
        load_gpu(str(mine))


def test_a_circle_of_shipped_gpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware_profiles.files.PACKAGE_DIR", tmp_path)
    (tmp_path / "gpus").mkdir()
    for name, like in (("one", "two"), ("two", "one")):
        (tmp_path / "gpus" / f"{name}.toml").write_text(f'name = "{name}"\nlike = "{like}"\n')
    with pytest.raises(InputError, match=r"one\.toml: key 'like': 'two' is itself like 'one'"):
        load_gpu("one")


def test_overheads_of_its_own_come_before_those_of_the_other(tmp_path):
    path = tmp_path / "fitted.toml"
    base = load_gpu("l40s")
    block = base.overheads().model_copy(update={"step_ms": 9.0})
    fitted = base.model_copy(
        update={"name": "fitted", "engine_overheads": {"fitted": block, **base.engine_overheads}}
    )
    write_fitted(fitted, base, path)
    assert 'like = "l40s"' in path.read_text()
    assert "[datasheet]" not in path.read_text()
    again = load_gpu(str(path))
    assert again.overheads() == block
    assert list(again.engine_overheads) == ["fitted", *base.engine_overheads]
    assert again.kernel_fit == base.kernel_fit
    model = load_model("llama-3.1-8b")
    assert step_cost(again, model).kind == step_cost(base, model).kind == "tabulated"
    write_fitted(fitted, again, tmp_path / "whole.toml")  # like one that is like another cannot be
    assert load_gpu(str(tmp_path / "whole.toml")).like is None
