"""Looking at profiles: the list, one profile's values, and the picture."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware_profiles import list_gpus
from simulator.cli import main as cli
from tests.refusals import folder, refusal  # noqa: F401


def profile(capsys, *arguments):
    assert cli.main(["profile", *arguments]) == 0
    return capsys.readouterr().out


def test_list_has_every_gpu_with_price_errors_and_cost_models(capsys):
    out = profile(capsys, "list")
    for name in list_gpus():
        lines = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        assert len(lines) >= 2
        assert "." in lines[0].split()[1]  # $/hour
    rows = [line.split() for line in out.splitlines()]
    assert ["h100-80gb-sxm", "llama-3.1-8b", "tabulated", "1,", "2,", "4,", "8"] in rows
    assert ["h200-sxm", "qwen3-32b-fp8_block,", "sglang-0_5", "tabulated", "1,", "2,", "4,", "8"] in rows
    assert "not validated" in next(line for line in out.splitlines() if line.startswith("l4 "))


@pytest.mark.parametrize("name", ["h100-80gb-sxm", "l4"])
def test_show_prints_values_with_sources_and_draws(capsys, name):
    out = profile(capsys, "show", name, "qwen3-8b", "--out", "a.png")
    assert "[engine_overheads.vllm-0_15-async]" in out
    assert "source = " in out
    assert "step times of qwen3-8b on 1 x " + name in out
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert len(Path("a.png").read_bytes()) > 30_000


def test_step_times_shown_are_the_cost_models(capsys):
    from hardware_profiles import load_gpu, load_model, step_cost
    from hardware_profiles.fit import step_shape

    lines = profile(capsys, "show", "h100-80gb-sxm").splitlines()
    cost = step_cost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b"))
    shown = next(line for line in lines if line.split()[:1] == ["2,048"]).split()
    assert float(shown[-1]) == pytest.approx(1e3 * cost.step_s(step_shape((), 128, 2048)), abs=0.051)


def test_wrong_names_are_refused(capsys):
    assert "unknown gpu 'h10'" in refusal(capsys, "profile", "show", "h10")
    assert "unknown model 'bert'" in refusal(capsys, "profile", "show", "l4", "bert")
    assert "expected 1, 2, 4 or 8" in refusal(capsys, "profile", "show", "l4", "--tensor-parallel", "3")
    assert "expected the path of a .png" in refusal(capsys, "profile", "show", "l4", "--out", "a.pdf")


def test_help_is_quick_and_loads_nothing_heavy():
    code = "import sys; from simulator.cli import main as cli; cli.main(['profile', '--help'])\n"
    code += "print([m for m in ('numpy', 'scipy', 'matplotlib', 'torch', 'hardware_profiles') if m in sys.modules])"
    began = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert time.perf_counter() - began < 2  # some 0.2 s on an idle machine
    assert out.splitlines()[-1] == "[]"
    for command in ("list", "show", "fit", "from-aiconfigurator", "measure"):
        assert f"\n  {command} " in out
