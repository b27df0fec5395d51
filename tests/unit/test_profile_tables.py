"""Profiles with a new operator table: from aiconfigurator's answers, and from timings on the device at hand."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import find_table, load_gpu, load_model, step_cost
from hardware_profiles.aiconfigurator import rows_of
from hardware_profiles.fit import step_shape
from hardware_profiles.from_table import TableOrigin, write_profile
from hardware_profiles.measure import TINY, measure_rows, origin_of, plan_for, tiny_model
from simulator.cli import main as cli
from simulator.errors import InputError
from tests.refusals import folder, refusal  # noqa: F401

ORIGIN = TableOrigin("a test", "none", "vLLM 0", "nothing")


class FakeTimer:
    """A device of one TFLOP/s and one TB/s with a microsecond a kernel."""

    description, software = "a made-up device", "fake 1.0"

    def __init__(self):
        self.matrices, self.largest_attention = set(), 0

    def matmul_ms(self, rows, inner, columns):
        self.matrices.add((inner, columns))
        return 1e-3 + max(2e-9 * rows * inner * columns, 2e-9 * inner * columns)

    def elementwise_ms(self, tokens, hidden, intermediate):
        return 1e-3 + 1e-9 * tokens * (8 * hidden + 6 * intermediate)

    def attention_ms(self, sequences, new, keys, heads, kv_heads, head_dim, causal):
        self.largest_attention = max(self.largest_attention, sequences * keys)
        work = 4e-9 * sequences * heads * head_dim * new * keys / (2 if causal else 1)
        return 1e-3 + max(work, 4e-9 * sequences * keys * kv_heads * head_dim)


def test_every_shape_of_a_layer_is_timed_on_a_rank():
    model, timer = load_model("llama-3.1-8b"), FakeTimer()
    measure_rows(model, 2, timer, plan_for(model, 2, None))
    assert timer.matrices == {(4096, 3072), (2048, 4096), (4096, 14336), (7168, 4096), (4096, 64128)}


def test_the_grid_stays_within_the_memory():
    model, timer = load_model("llama-3.1-8b"), FakeTimer()
    plan = plan_for(model, 1, 80 * 2**30)
    measure_rows(model, 1, timer, plan)
    assert timer.largest_attention <= 80 * 2**30 / model.kv_bytes_per_token
    assert plan.contexts[-1] == 32768
    assert plan_for(load_model("llama-2-7b"), 1, 80 * 2**30).contexts[-1] == 4096  # what the model can


def test_measured_rows_become_a_profile_that_is_found_and_exact_at_its_points():
    model = load_model(str(tiny_model(Path())))
    timer = FakeTimer()
    rows = measure_rows(model, 1, timer, plan_for(model, 1, None))
    new = write_profile(load_gpu("l4"), model, 1, rows, Path("mine.toml"), origin_of(timer, model))
    gpu = load_gpu("mine.toml")
    assert gpu.operator_tables == new.gpu.operator_tables
    assert "a made-up device" in gpu.description
    assert "no run of a real server was compared" in gpu.validated
    table = find_table(gpu, model, 1)
    assert table is not None
    assert table.source == "tables/mine/tiny.tp1.csv.gz"
    cost = step_cost(gpu, model)
    assert cost.kind == "tabulated"
    by_part = {part: {tuple(row[:-1]): row[-1] for row in found} for part, found in rows.items()}
    expected_ms = (
        by_part["linear"][8, 0, 0, 0] + by_part["elementwise"][8, 0, 0, 0]
        + np.interp(8, [4, 16], [by_part["lm_head"][0, 0, 4, 0], by_part["lm_head"][0, 0, 16, 0]])
        + np.interp(8, [4, 16], [by_part["attention"][0, 0, b, 256] for b in (4, 16)])
    )  # fmt: skip
    assert 1e3 * cost.kernel_s(step_shape((), 8, 256)) == pytest.approx(expected_ms, rel=1e-4)


@pytest.mark.parametrize("command", ["measure", "from-aiconfigurator"])
def test_a_missing_package_is_said_in_one_sentence(capsys, monkeypatch, command):
    for name in ("torch", "aiconfigurator", "aiconfigurator.sdk.backends.factory"):
        monkeypatch.setitem(sys.modules, name, None)
    extra = ["Qwen/Qwen3-8B", "--model", "qwen3-8b"] if command == "from-aiconfigurator" else []
    sentence = refusal(capsys, "profile", command, *extra, "--out", "a.toml")
    package = "torch" if command == "measure" else "aiconfigurator"
    assert sentence.startswith(f"{package} is not installed")
    assert f"pip install 'servesim[{package}]'" in sentence


def test_measure_refuses_what_it_does_not_time(capsys, monkeypatch):
    from hardware_profiles.measure import check_model

    with pytest.raises(InputError, match="mixture of experts; expected a dense model"):
        check_model(load_model("mixtral-8x7b"), 1)
    with pytest.raises(InputError, match="expected 1, 2, 4 or 8"):
        check_model(load_model("llama-3.1-8b"), 3)


class FakeSession:
    """Answers as aiconfigurator's sessions do: milliseconds by operator, for all layers."""

    def __init__(self, matrices=("qkv_gemm", "proj_gemm", "gate_ffn1_gemm", "ffn2_gemm")):
        self.matrices = matrices

    def prompt(self, new, prior):
        assert prior == 0  # those after a past are derived
        return self.answer("context", new, 1e-6 * new * new)

    def decode(self, batch, context):
        return self.answer("generation", batch, 1e-5 * batch * context)

    def answer(self, phase, tokens, attention_ms):
        found = dict.fromkeys(self.matrices, 1.0 + 0.01 * tokens)
        found |= dict.fromkeys(("embedding", "add_norm_1", "add_norm_2", "act_gate"), 0.1)
        found |= dict.fromkeys(("embedding_ar", "ar_1", "ar_2"), 0.2)
        found |= {"logits_gemm": 0.3, "attention": attention_ms, "p2p": 99.0}
        return {f"{phase}_{name}": ms for name, ms in found.items()}


def test_answers_of_aiconfigurator_become_the_rows_of_a_table():
    rows = rows_of(FakeSession(), 2)
    linear, reduce = ({row[0]: row[-1] for row in rows[part]} for part in ("linear", "all_reduce"))
    assert linear[128] == pytest.approx(4 * 2.28)
    assert reduce[2048] == pytest.approx(0.6)
    assert {row[-1] for row in rows["lm_head"]} == {0.3}
    attention = {row[:4]: row[-1] for row in rows["attention"]}
    assert attention[1024, 0, 0, 0] == pytest.approx(1.048576)
    assert attention[1024, 1024, 0, 0] == pytest.approx(4.194304 * 3 / 4)
    assert attention[0, 0, 64, 1024] == pytest.approx(0.65536)
    assert not rows_of(FakeSession(), 1)["all_reduce"]
    new = write_profile(load_gpu("l40s"), load_model("qwen3-8b"), 2, rows, Path("sub/mine.toml"), ORIGIN)
    assert new.table == Path("sub/tables/mine/qwen3-8b.tp2.csv.gz")
    assert step_cost(load_gpu("sub/mine.toml"), load_model("qwen3-8b"), "tabulated", 2).kind == "tabulated"


def test_a_fit_keeps_to_the_folder_of_the_tables_it_is_based_on(capsys):
    write_profile(
        load_gpu("l40s"), load_model("qwen3-8b"), 1, rows_of(FakeSession(), 1), Path("a/x.toml"), ORIGIN
    )
    Path("steps.csv").write_text("")
    arguments = ("profile", "fit", "steps.csv", "--gpu", "a/x.toml", "--out")
    assert "expected a file in the same folder" in refusal(capsys, *arguments, "b.toml")
    assert "is missing" in refusal(capsys, *arguments, "a/b.toml")  # the next thing wrong


def test_a_model_with_other_operators_is_refused():
    with pytest.raises(InputError, match=r"no operator of part .linear. in "):
        rows_of(FakeSession(matrices=("moe",)), 1)


def test_wrong_arguments_are_refused(capsys):
    aic = ("profile", "from-aiconfigurator", "Qwen/Qwen3-8B", "--model", "qwen3-8b", "--out", "a.toml")
    assert "expected fp8 or fp8_block or nvfp4" in refusal(capsys, *aic, "--quantization", "int4")
    assert "--engine orca: expected vllm, sglang, trtllm" in refusal(capsys, *aic, "--engine", "orca")
    assert "--system: expected the name" in refusal(capsys, *aic, "--gpu", "mi300x")


def test_measuring_a_tiny_model_on_the_cpu(capsys):
    pytest.importorskip("torch", reason="servesim profile measure needs torch, an optional dependency")
    assert cli.main(["profile", "measure", "--device", "cpu", "--out", "cpu.toml"]) == 0
    assert "not a GPU" in capsys.readouterr().out
    gpu, model = load_gpu("cpu.toml"), load_model("tiny.json")
    cost = step_cost(gpu, model, "tabulated")
    assert cost.kernel_s(step_shape([(512, 0)])) > cost.kernel_s(step_shape((), 1, 64)) > 0
    assert json.loads(Path("tiny.json").read_text()) == TINY
    assert "--device tpu" in refusal(capsys, "profile", "measure", "--device", "tpu", "--out", "b.toml")


@pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator") is None, reason="aiconfigurator is not installed"
)
def test_a_table_out_of_aiconfigurator_itself(capsys):
    arguments = ["Qwen/Qwen3-8B", "--model", "qwen3-8b", "--gpu", "l40s", "--out", "a.toml"]
    assert cli.main(["profile", "from-aiconfigurator", *arguments]) == 0
    assert step_cost(load_gpu("a.toml"), load_model("qwen3-8b"), "tabulated").kind == "tabulated"
    assert "expected one of a100" in refusal(
        capsys, "profile", "from-aiconfigurator", *arguments, "--overwrite", "--system", "tpu"
    )
