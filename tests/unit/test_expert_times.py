"""Mixtures of experts priced from measured times: the points are met, and between them the rule that is stated."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import find_table, load_gpu, load_model, step_cost
from hardware_profiles.aiconfigurator import rows_of
from hardware_profiles.expert_load import chances_of, reached
from hardware_profiles.expert_times import ExpertTimes, expert_ms, mixture_of, picked
from hardware_profiles.fit import bare, step_shape
from hardware_profiles.tables import COLUMNS, list_tables, make_table, read_table, write_table
from hardware_profiles.tabulated import TabulatedCost
from simulator.errors import InputError

QWEN, MIXTRAL = load_model("qwen3-30b-a3b"), load_model("mixtral-8x7b")
MEASURED = [
    (gpu, model, size)
    for gpu in map(load_gpu, ("h100-80gb-sxm", "h200-sxm", "b200-sxm", "l40s", "rtx-pro-6000"))
    for name, size in list_tables(gpu)
    for model in (QWEN, MIXTRAL)
    if model.name == name
]
# Two experts of four a token, tokens and experts measured apart with two tokens, not with eight.
ROWS = np.array([[1, 2, 10.0], [2, 2, 11.0], [2, 4, 20.0], [8, 4, 26.0]])


def test_tables_of_experts_are_there_for_both_models():
    assert {model.name for _, model, _ in MEASURED} == {"qwen3-30b-a3b", "mixtral-8x7b"}
    assert len(MEASURED) > 10


@pytest.mark.parametrize(
    ("gpu", "model", "size"), MEASURED, ids=lambda each: getattr(each, "name", str(each))
)
def test_measured_points_are_met_and_more_work_is_hardly_cheaper(gpu, model, size):
    rows = find_table(gpu, model, size).experts
    times = ExpertTimes(rows)
    assert times.ms(rows[:, 0], rows[:, 1]) == pytest.approx(rows[:, 2], rel=1e-12)
    by_tokens = expert_ms(model, rows, 4097)
    assert (by_tokens > 0).all()
    # Another kernel serves other numbers of tokens: on L40S 16 take a tenth less than 4, which no model should invent.
    assert (by_tokens[4::4] > by_tokens[1:1025] * 0.89).all()


def test_points_that_were_not_measured_add_reading_and_multiplying():
    times = ExpertTimes(ROWS)
    points = np.array([[8, 2], [1, 4], [5, 4], [2, 3], [100, 4], [0, 0]])
    # 8 tokens on 2 experts: 10 for reading them, and the 6 that 8 tokens take more than 2 on 4 experts.
    assert times.ms(points[:, 0], points[:, 1]) == pytest.approx([16, 20, 23, 15.5, 26, 10])


def test_steps_pick_experts_evenly_and_by_themselves():
    assert mixture_of(QWEN) == (128, 8)
    assert mixture_of(load_model("qwen3-8b")) is None
    assert picked(QWEN, np.array([0.0, 1.0, 2.0, 1e9])) == pytest.approx([0, 8, 15.5, 128])
    assert picked(QWEN, np.array([2.0]), share=0.5) == pytest.approx([7.75])
    with pytest.raises(InputError, match="qwen3-8b: a table of experts"):
        picked(load_model("qwen3-8b"), np.array([1.0]))


def test_beyond_the_most_tokens_time_goes_on_along_the_last_slope():
    ms = expert_ms(MIXTRAL, np.array([[1, 2, 1.0], [4, 8, 3.0], [512, 8, 10.0], [1024, 8, 15.0]]), 4097)
    assert ms[1024] == pytest.approx(15)
    assert ms[2048] == pytest.approx(25)
    assert ms[768] == pytest.approx(12.5)


@given(st.integers(1, 300), st.integers(1, 1000))
def test_a_step_is_its_parts(decodes, context):
    gpu, overheads = load_gpu("h100-80gb-sxm"), bare(load_gpu("h100-80gb-sxm").overheads())
    table = find_table(gpu, QWEN, 1)
    without = TabulatedCost(gpu, QWEN, dataclasses.replace(table, experts=np.empty((0, 3))), 1, overheads)
    step = step_shape(decodes=decodes, context_tokens=context)
    mixture_s = expert_ms(QWEN, table.experts, decodes + 1)[-1] / 1e3
    found = TabulatedCost(gpu, QWEN, table, 1, overheads).step_s(step)
    assert found == pytest.approx(without.step_s(step) + mixture_s)


def test_one_token_reads_few_experts_and_many_read_all():
    cost = step_cost(load_gpu("h100-80gb-sxm"), QWEN, "tabulated")
    one, many = (cost.step_s(step_shape(decodes=n, context_tokens=100)) for n in (1, 256))
    weights_s = QWEN.weight_bytes / cost.gpu.bandwidth_bytes_per_s
    assert one < 0.4 * weights_s < weights_s < many


def test_a_file_keeps_rows_of_experts(tmp_path: Path):
    rows = {
        "linear": [(1, 0, 0, 0, 1.0), (64, 0, 0, 0, 2.0)],
        "lm_head": [(0, 0, 1, 0, 0.4), (0, 0, 64, 0, 0.6)],
        "elementwise": [(1, 0, 0, 0, 0.5), (64, 0, 0, 0, 4.0)],
        "attention": [*((n, 0, 0, 0, n / 1e3) for n in (16, 64)), *((0, 0, b, 128, 1.0) for b in (1, 64))],
        "experts": [tuple(row) for row in ROWS.tolist()],
    }
    path = tmp_path / "x.tp1.csv.gz"
    write_table(path, rows)
    assert np.array_equal(read_table(path).experts, ROWS)
    assert np.array_equal(read_table(path).attention, make_table("rows", rows).attention)
    with pytest.raises(InputError, match="part 'experts' has values that are negative"):
        make_table("rows", rows | {"experts": [(1, 2, -1.0)]})
    with pytest.raises(InputError, match="at least 2 numbers of tokens and of experts"):
        make_table("rows", rows | {"experts": [(1, 2, 1.0), (2, 2, 1.0)]})
    text = gzip.decompress(path.read_bytes()).decode()
    for bad in (text.replace("experts,ms", "ms"), text + "experts,1,0,0,0,1.0\n"):
        path.write_bytes(gzip.compress(bad.encode()))
        with pytest.raises(InputError, match=r"x\.tp1\.csv\.gz: not an operator table"):
            read_table(path)
    path.write_bytes(gzip.compress(f"{','.join(COLUMNS)}\nexperts,1,0,0,0,1.0\n".encode()))
    with pytest.raises(InputError, match="a row of part 'experts' has 6 values"):
        read_table(path)


class MixtureSession:
    """Answers as aiconfigurator's sessions do for a model of routed experts."""

    more: tuple[str, ...] = ()

    def prompt(self, new, prior):
        return self.answer("context", new)

    def decode(self, batch, context):
        return self.answer("generation", batch)

    def answer(self, phase, tokens):
        names = (
            "embedding",
            "add_norm_1",
            "qkv_gemm",
            "attention",
            "proj_gemm",
            "router_gemm",
            "logits_gemm",
        )
        found = dict.fromkeys((*names, *self.more), 1.0) | {"moe": 5.0 + tokens, "p2p": 0.0}
        return {f"{phase}_{name}": ms for name, ms in found.items()}


def test_answers_of_aiconfigurator_say_how_many_experts_were_read():
    rows = rows_of(MixtureSession(), 1, (128, 8))
    assert rows["experts"][:3] == [(1, 8, 6.0), (2, 16, 7.0), (4, 32, 9.0)]
    assert rows["experts"][-1][:2] == (16384, 128)
    assert rows["linear"][0][-1] == 3.0  # projections and router


def test_operators_that_are_not_read_are_refused():
    with pytest.raises(InputError, match="generation_moe: not read"):
        rows_of(MixtureSession(), 1)
    session = MixtureSession()
    session.more = ("shared_gate_up_gemm",)
    with pytest.raises(InputError, match="shared_gate_up_gemm: not read"):
        rows_of(session, 1, (128, 8))


def test_uneven_picks_are_interpolated_closely():
    chances = chances_of(np.arange(1, 129)[None] ** -1.0, 8)
    uneven = dataclasses.replace(QWEN, expert_chances=chances)
    tokens = np.arange(20_000.0)
    some = tokens[::137]
    exact = [reached(chances, each) for each in some.tolist()]
    np.testing.assert_allclose(picked(uneven, tokens)[::137], exact, rtol=1e-3)
