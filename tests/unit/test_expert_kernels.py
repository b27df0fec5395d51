"""The roofline of experts beside their measured tables, those that its constants are fitted to and others."""

import dataclasses

import numpy as np
import pytest

from hardware_profiles import AnalyticCost, find_table, load_gpu, load_model
from hardware_profiles.expert_kernels import overhead_s, sorting_s_per_token
from hardware_profiles.expert_parallel import RanksCost
from hardware_profiles.expert_times import ExpertTimes, picked
from hardware_profiles.tabulated import TabulatedCost
from simulator.replica.cost import StepShape

QWEN, MIXTRAL = load_model("qwen3-30b-a3b"), load_model("mixtral-8x7b")
TOKENS = np.geomspace(1, 16_384, 15).round()


@pytest.mark.parametrize(
    ("gpu", "model", "median", "worst"),
    [
        ("h100-80gb-sxm", QWEN, 0.08, 0.22),
        ("h200-sxm", QWEN, 0.06, 0.2),
        ("h200-sxm", MIXTRAL, 0.1, 0.2),
        ("b200-sxm", QWEN, 0.1, 0.3),  # not fitted to
    ],
)
def test_the_roofline_of_whole_experts_is_near_their_table(gpu, model, median, worst):
    gpu = load_gpu(gpu)
    table = find_table(gpu, model, 1)
    cost = RanksCost(gpu, model, 1, "analytic")
    factor = cost.overheads.kernel_factor
    ours = np.array([cost.experts_s(int(each), int(each)) for each in TOKENS]) / factor
    error = np.abs(ours * 1e3 / ExpertTimes(table.experts).ms(TOKENS, picked(model, TOKENS)) - 1)
    assert np.median(error) < median
    assert error.max() < worst


@pytest.mark.parametrize(("model", "size"), [(QWEN, 1), (QWEN, 4), (MIXTRAL, 2), (MIXTRAL, 8)])
def test_long_prompts_take_about_what_tables_say_where_experts_are_in_slices(model, size):
    gpu = load_gpu("h100-80gb-sxm")
    shape = StepShape(
        prefill_seqs=8, prefill_tokens=8192, prefill_context_tokens=8192, prefill_attention_pairs=8192 * 512.0
    )
    table = TabulatedCost(gpu, model, find_table(gpu, model, size), size)
    assert AnalyticCost(gpu, model, size).step_s(shape) == pytest.approx(table.step_s(shape), rel=0.22)


def test_a_dense_model_has_none_of_it():
    dense = load_model("llama-3.1-8b")
    assert overhead_s(dense) == sorting_s_per_token(load_gpu("l4"), dense) == 0
    half = dataclasses.replace(QWEN, layers=QWEN.layers[:24])
    assert overhead_s(half) == pytest.approx(overhead_s(QWEN) / 2)
