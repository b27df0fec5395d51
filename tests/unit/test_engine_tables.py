"""Operator tables of one engine's kernels: they come before the GPU's, for that engine alone."""

import dataclasses
from pathlib import Path

import pytest

import simulator
from hardware_profiles import find_table, list_tables, load_gpu, load_model, step_cost
from hardware_profiles.aiconfigurator import rows_of
from hardware_profiles.from_table import TableOrigin, write_profile
from hardware_profiles.quantisation.scheme import UNIFORM
from tests.refusals import folder  # noqa: F401
from tests.unit.test_profile_tables import FakeSession

H200 = load_gpu("h200-sxm")
SGLANG, VLLM = H200.overheads("sglang-0_5"), H200.overheads("vllm-0_15-async")
QWEN = load_model("qwen3-32b")
IN_BLOCKS = dataclasses.replace(QWEN, quantization=UNIFORM["fp8_block"])


def test_an_engine_is_priced_by_tables_of_its_own_kernels_and_others_are_not():
    table = find_table(H200, IN_BLOCKS, 1, SGLANG)
    assert table is not None
    assert "h200-sxm-sglang" in table.source
    assert find_table(H200, IN_BLOCKS, 1) is find_table(H200, IN_BLOCKS, 1, VLLM) is None
    kinds = [step_cost(H200, IN_BLOCKS, overheads=each).kind for each in (SGLANG, VLLM)]
    assert kinds == ["tabulated", "analytic"]


def test_where_an_engine_has_no_table_of_a_model_it_has_the_gpu_s():
    llama = load_model("llama-3.1-8b")
    own, shared = (find_table(H200, llama, 1, each) for each in (SGLANG, None))
    assert own is not None
    assert shared is not None
    assert own.source == shared.source
    assert {*list_tables(H200)} < {*list_tables(H200, SGLANG)}


def test_a_gpu_without_tables_has_none_of_an_engine():
    """What is like an H200 but for its data sheet, or fitted to timings, has other kernels."""
    other = H200.model_copy(update={"operator_tables": None})
    assert list_tables(other, SGLANG) == []


def test_a_new_table_is_every_engine_s():
    origin = TableOrigin("a test", "none", "SGLang 0", "nothing")
    new = write_profile(H200, IN_BLOCKS, 1, rows_of(FakeSession(), 1), Path("mine.toml"), origin)
    table = find_table(new.gpu, IN_BLOCKS, 1, new.gpu.overheads("sglang-0_5"))
    assert table is not None
    assert "tables/mine/" in table.source


def test_fp8_prompts_under_sglang_take_what_its_kernels_take():
    """Qwen3-32B-FP8 on one H200, 128 clients: the result of SGLang's scheduler on its kernels (aisimulate#120).

    There first tokens take 4.47 s and a token 30.2 ms, without overheads, which may add 3 ms to a token.
    """
    scenario = simulator.Scenario(
        hardware={"gpu": "h200-sxm", "model": "qwen3-32b", "quantization": "fp8_block"},
        engine={"profile": "native", "num_gpu_blocks": 371_587, "max_num_seqs": 128},
        policy={
            "scheduling": {"name": "sglang", "chunked_prefill_size": 8192, "disable_overlap_schedule": True}
        },
        cluster={"replicas": 1},
        workload={
            "arrivals": "burst", "requests": 256, "concurrency": 128,
            "prompt_tokens": 1024, "output_tokens": 1024,
        },
    )  # fmt: skip
    result = simulator.run(scenario).log
    assert result.ttft_s.mean() == pytest.approx(4.47, rel=0.01)
    assert 30.2e-3 < result.tpot_s.mean() < 1.02 * 33.2e-3
