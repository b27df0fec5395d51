"""The roofline of experts beside their measured tables, those that its constants are fitted to and others."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from hardware_profiles import AnalyticCost, find_table, load_gpu, load_model
from hardware_profiles.expert_kernels import (
    SLOWDOWN,
    expert_rate,
    more_for_prompts,
    overhead_s,
    sorting_s_per_token,
)
from hardware_profiles.expert_parallel import RanksCost
from hardware_profiles.expert_times import ExpertTimes, picked
from hardware_profiles.quantisation.formats import SIXTEEN_BITS, fp8_in_blocks
from hardware_profiles.tabulated import TabulatedCost
from simulator.replica.cost import StepShape

QWEN, MIXTRAL = load_model("qwen3-30b-a3b"), load_model("mixtral-8x7b")
TOKENS = np.geomspace(1, 16_384, 15).round()


@pytest.mark.parametrize(
    ("gpu", "model", "median", "worst"),
    [
        ("h100-80gb-sxm", QWEN, 0.1, 0.25),
        ("h200-sxm", QWEN, 0.1, 0.25),
        ("h200-sxm", MIXTRAL, 0.1, 0.35),
        ("b200-sxm", QWEN, 0.15, 0.6),
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
    gpu = kernels_alone(load_gpu("h100-80gb-sxm"))
    shape = StepShape(
        prefill_seqs=8, prefill_tokens=8192, prefill_context_tokens=8192, prefill_attention_pairs=8192 * 512.0
    )
    table = TabulatedCost(gpu, model, find_table(gpu, model, size), size)
    assert AnalyticCost(gpu, model, size).step_s(shape) == pytest.approx(table.step_s(shape), rel=0.3)


def test_a_dense_model_has_none_of_it():
    dense = load_model("llama-3.1-8b")
    gpu = load_gpu("h100-80gb-sxm")
    assert overhead_s(gpu, dense) == sorting_s_per_token(gpu, dense) == more_for_prompts(gpu, dense) == 0
    half = dataclasses.replace(QWEN, layers=QWEN.layers[:24])
    assert overhead_s(gpu, half) == pytest.approx(overhead_s(gpu, QWEN) / 2)


@pytest.mark.parametrize("ranks", [1, 8])
def test_prompts_of_a_mixture_take_longer_in_a_server_and_decodes_do_not(ranks):
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("qwen3-235b-a22b")
    price = partial(RanksCost, model=model, ranks=8) if ranks > 1 else partial(AnalyticCost, model=model)
    served, alone = price(gpu), price(kernels_alone(gpu))
    decodes = StepShape(decode_seqs=8, decode_context_tokens=8192)
    assert served.step_s(decodes) == alone.step_s(decodes)
    mixed, longer = (
        StepShape(
            prefill_seqs=16, prefill_tokens=8000, prefill_context_tokens=8000, prefill_attention_pairs=pairs,
            decode_seqs=8, decode_context_tokens=8192,
        ) for pairs in (2e6, 32e6)
    )  # fmt: skip
    more = served.step_s(mixed) - served.step_s(decodes)
    kernels = alone.step_s(mixed) - alone.step_s(decodes)
    assert more == pytest.approx(gpu.expert_kernels.served_prompts * kernels, rel=0.05)
    attended = alone.step_s(longer) - alone.step_s(mixed)  # as in dense models
    assert served.step_s(longer) - served.step_s(mixed) == pytest.approx(attended)


def test_experts_reach_what_their_format_was_measured_with():
    gpu = load_gpu("h100-80gb-sxm")
    sixteen, eight = (expert_rate(gpu, weights) for weights in (SIXTEEN_BITS, fp8_in_blocks(128, 128)))
    assert eight.flop_per_s > sixteen.flop_per_s
    assert sixteen.bytes_per_s == pytest.approx(gpu.expert_kernels.bf16.bandwidth * 3.35e12)
    without = gpu.model_copy(update={"expert_kernels": None})
    assert expert_rate(without, SIXTEEN_BITS).flop_per_s < 989e12 / SLOWDOWN


@pytest.mark.parametrize(
    ("gpu", "measured_us"),  # of a layer of Kimi-K2.5 on one of 8 GPUs, by tokens: Marlin, vLLM 0.24.0
    [
        ("h100-80gb-sxm", {1: 40, 8: 122, 128: 533, 2048: 1178, 8192: 4390}),
        ("h200-sxm", {1: 41, 8: 111, 128: 477, 2048: 1138, 8192: 4337}),
        ("b200-sxm", {1: 45, 8: 101, 128: 416, 2048: 1056, 8192: 3978}),
    ],
)
def test_experts_of_four_bits_are_unpacked_at_the_speed_that_was_measured(gpu, measured_us):
    gpu, model = load_gpu(gpu), load_model("kimi-k2.5")
    layers = sum(n for part, n in model.parts.items() if part.kind == "experts")
    p, shared_s = gpu.kernel_fit.soft_max_exponent, gpu.kernel_fit.layer_overhead_us / 2 * 1e-6
    for tokens, us in measured_us.items():
        read_s = compute_s = 0.0
        for (matrix, weights), n in model.matrices.items():
            if matrix.is_expert:
                rate = expert_rate(gpu, weights)
                read_s += (
                    matrix.bytes(weights) / matrix.count * matrix.read(tokens) * n / 8 / rate.bytes_per_s
                )
                compute_s += 2 * matrix.active_parameters * n * tokens / 8 / rate.flop_per_s
        fixed_s = (
            overhead_s(gpu, model) / layers - shared_s + sorting_s_per_token(gpu, model) * tokens / layers
        )
        ours_us = 1e6 * (fixed_s + (read_s**p + compute_s**p) ** (1 / p) / layers)
        assert ours_us == pytest.approx(us, rel=0.35), tokens


def test_latents_are_expanded_again_by_later_chunks():
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("deepseek-r1")
    measured, alone = AnalyticCost(gpu, model, 8), AnalyticCost(without_latents(gpu), model, 8)

    def more_s(cost, prior):
        shape = StepShape(
            prefill_seqs=1, prefill_tokens=1000, prefill_context_tokens=1000 + prior,
            prefill_attention_pairs=1000 * prior + 5e5,
        )  # fmt: skip
        return cost.step_s(shape)

    assert more_s(measured, 9000) - more_s(measured, 0) > more_s(alone, 9000) - more_s(alone, 0)


def kernels_alone(gpu):
    experts = gpu.expert_kernels.model_copy(update={"served_prompts": 1.0})
    return gpu.model_copy(update={"expert_kernels": experts})


def without_latents(gpu):
    return gpu.model_copy(update={"latent_kernels": None})
