"""The two cost models: the laws of step times, and what a step is made of."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import AnalyticCost, HardwareCost, find_table, load_gpu, load_model, step_cost
from hardware_profiles.expert_kernels import SLOWDOWN
from hardware_profiles.fit import bare, step_shape
from hardware_profiles.layers import LayerPart, experts, mlp
from hardware_profiles.model import Model
from hardware_profiles.quantisation.scheme import UNIFORM
from simulator.errors import InputError
from simulator.replica.cost import CostModel, StepShape
from tests.hardware_costs import COSTS, H100, LLAMA, MODELS, costs, step, without_mixing

analytic_costs = st.sampled_from([cost for cost in COSTS.values() if cost.kind == "analytic"])
prefills = st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 8192)), max_size=4)
decodes = st.lists(st.integers(1, 32_768), max_size=8)


def test_known_points_in_milliseconds() -> None:
    # One decode of 1024 tokens and a prefill of 2048: 6.2 and 43.5 ms of kernels in the H100 table.
    for cost in (COSTS["h100-80gb-sxm analytic"], COSTS["h100-80gb-sxm tabulated"]):
        assert cost.kernel_s(step([], [1024])) * 1e3 == pytest.approx(6.2, rel=0.05)
        assert cost.kernel_s(step([(2048, 0)], [])) * 1e3 == pytest.approx(43.5, rel=0.05)


@given(costs, prefills, decodes)
def test_step_is_kernels_with_engine_overheads(
    cost: HardwareCost, prefill: list[tuple[int, int]], decode: list[int]
) -> None:
    shape = step(prefill, decode)
    engine = cost.overheads
    kernels = _with_overheads(cost, bare(engine)).step_s(shape)
    seqs = len(prefill) + len(decode)
    added_s = (engine.step_ms + engine.per_sequence_ms * seqs) * 1e-3 if seqs else 0.0
    assert cost.kernel_s(shape) == pytest.approx(kernels, rel=1e-9, abs=0)
    assert cost.step_s(shape) == pytest.approx(engine.kernel_factor * kernels + added_s, rel=1e-9, abs=0)


def _with_overheads(cost: HardwareCost, overheads: object) -> HardwareCost:
    return step_cost(cost.gpu, cost.model, cost.kind, cost.tensor_parallel, overheads)  # type: ignore[arg-type]


@given(costs, prefills, decodes)
def test_pure_whatever_was_asked_before(
    cost: HardwareCost, prefill: list[tuple[int, int]], decode: list[int]
) -> None:
    fresh = _with_overheads(cost, cost.overheads)
    shape = step(prefill, decode)
    first = fresh.step_s(shape)
    fresh.step_s(step([(1, 0)], [5]))
    fresh.step_s(step([], [30_000] * max(1, len(decode))))
    assert first == fresh.step_s(step(prefill, decode)) == cost.step_s(shape)


@pytest.mark.parametrize("cost", COSTS.values(), ids=list(COSTS))
def test_beyond_the_memos_and_the_grid_is_the_same_function(cost: HardwareCost) -> None:
    longest = [cost.step_s(step([(tokens, 0)], [])) for tokens in (65_535, 65_536, 65_537, 65_537, 65_538)]
    assert longest == sorted(longest)
    assert longest[2] == longest[3]
    many = [cost.step_s(step_shape([], seqs, 1000)) for seqs in (300, 600, 1200, 4096, 5000, 70_000, 70_001)]
    assert many == sorted(many)
    mixed = [cost.step_s(step_shape([(100, 0)], seqs, 1000)) for seqs in (300, 600, 5000, 70_000)]
    assert mixed == sorted(mixed)


@pytest.mark.parametrize("cost", COSTS.values(), ids=list(COSTS))
def test_empty_step_costs_nothing(cost: HardwareCost) -> None:
    assert cost.step_s(StepShape()) == 0.0 == cost.kernel_s(StepShape())


@given(analytic_costs, prefills, decodes, st.integers(1, 2048), st.integers(1, 4096))
def test_more_work_is_never_cheaper(
    cost: HardwareCost, prefill: list[tuple[int, int]], decode: list[int], more: int, longer: int
) -> None:
    # A long past makes a prompt's start-up cost fade by up to this much.
    fades_s = cost.kernel_s(step([(1, 0)], [])) * 0.25
    base = cost.step_s(step(prefill, decode))
    assert cost.step_s(step(prefill, [*decode, longer])) > base
    assert cost.step_s(step([*prefill, (more, 0)], decode)) > base
    if decode:
        assert cost.step_s(step(prefill, [decode[0] + longer, *decode[1:]])) > base
    if prefill:
        (tokens, prior), *others = prefill
        assert cost.step_s(step([(tokens + more, prior), *others], decode)) > base
        assert cost.step_s(step([(tokens, prior + longer), *others], decode)) > base - fades_s


@given(st.sampled_from([cost for cost in COSTS.values() if cost.kind == "tabulated"]), st.data())
def test_measured_tables_grow_but_for_their_own_noise(cost: HardwareCost, data: st.DataObject) -> None:
    # The kernels measured jump by up to 12 % where another tile fits better; never by more.
    batch = data.draw(st.integers(1, 400))
    context = data.draw(st.integers(1, 30_000))
    base = cost.step_s(step_shape([], batch, context))
    assert cost.step_s(step_shape([], batch + data.draw(st.integers(1, 100)), context)) > 0.88 * base
    assert cost.step_s(step_shape([], batch, context + data.draw(st.integers(1, 2000)))) > 0.98 * base
    tokens, prior = data.draw(st.integers(16, 8192)), data.draw(st.integers(0, 8192))
    base = cost.step_s(step_shape([(tokens, prior)], batch, context))
    more = data.draw(st.integers(1, 2048))
    assert cost.step_s(step_shape([(tokens + more, prior)], batch, context)) > 0.88 * base
    assert cost.step_s(step_shape([(tokens, prior + more)], batch, context)) > 0.93 * base


def test_equal_prefills_cost_what_their_sums_say() -> None:
    for cost in COSTS.values():
        one = cost.step_s(step([(256, 512)], []))
        four = cost.step_s(step([(256, 512)] * 4, []))
        assert one < four < 4 * one


def test_a_prefill_slows_the_decodes_beside_it_where_the_kernel_stops_packing() -> None:
    a100, plain = load_gpu("a100-80gb-sxm"), without_mixing(load_gpu("a100-80gb-sxm"))
    alone, mixed = step_shape([], 128, 2048), step_shape([(64, 0)], 128, 2048)
    for kind in ("analytic", "tabulated"):
        with_loss = step_cost(a100, LLAMA, kind)  # type: ignore[arg-type]
        without = step_cost(plain, LLAMA, kind)  # type: ignore[arg-type]
        assert with_loss.step_s(alone) == without.step_s(alone)
        attention_s = without.kernel_s(alone) - without.kernel_s(step_shape([], 128, 0))
        # 32 query heads share 8 KV heads: without packing each group is read four times.
        lost_s = with_loss.kernel_s(mixed) - without.kernel_s(mixed)
        assert lost_s == pytest.approx(3 * attention_s, rel=0.15)
    assert H100.mixed_batch is None


def test_a_small_chunk_still_reads_its_long_past() -> None:
    for cost in (
        COSTS["h100-80gb-sxm analytic"],
        COSTS["rtx-pro-6000 analytic"],
        COSTS["rtx-4090 tabulated"],
    ):
        near, far = cost.kernel_s(step([(16, 1000)], [])), cost.kernel_s(step([(16, 16_000)], []))
        least_s = 15_000 * LLAMA.kv_bytes_per_token / cost.gpu.bandwidth_bytes_per_s
        assert far - near > 0.95 * least_s


@pytest.mark.parametrize("kind", ["analytic", "tabulated"])
def test_swapped_blocks_take_the_host_link(kind: str) -> None:
    cost = step_cost(H100, LLAMA, kind, block_size=32)  # type: ignore[arg-type]
    block_s = 32 * LLAMA.kv_bytes_per_token / (H100.host_link.bandwidth_gb_per_s * 1e9)
    idle = StepShape(swap_out_blocks=10)
    assert cost.step_s(idle) == pytest.approx(10 * block_s)
    for prefill in ([], [(100, 0)]):
        shape, quiet = step_shape(prefill, 3, 500), step_shape(prefill, 3, 500)
        shape.swap_in_blocks, shape.swap_out_blocks = 4, 3
        assert cost.step_s(shape) - cost.step_s(quiet) == pytest.approx(7 * block_s)
        assert cost.kernel_s(shape) == pytest.approx(cost.kernel_s(quiet))
    halved = AnalyticCost(H100, LLAMA, 2, block_size=32)
    assert halved.step_s(idle) == pytest.approx(5 * block_s)


@pytest.mark.parametrize("gpu", ["a100-80gb-sxm", "h100-80gb-sxm", "h200-sxm", "b200-sxm"])
def test_tensor_parallel_divides_work_and_adds_all_reduces(gpu: str) -> None:
    profile, model = load_gpu(gpu), load_model("qwen3-32b")
    for size, shape in itertools.product((2, 4, 8), (step([(2048, 0)], []), step([], [1000] * 32))):
        one = AnalyticCost(profile, model, 1).kernel_s(shape)
        many = AnalyticCost(profile, model, size).kernel_s(shape)
        assert one / size < many < one


def test_analytic_tensor_parallel_is_near_the_tables() -> None:
    # Coefficients are those of one GPU; shards of matrices run less efficiently than whole ones.
    shapes = [step([(1024, 0)], []), step([(2048, 2048)], []), step([], [1000] * 32), step([], [2000] * 128)]
    for model, size, bar in itertools.product(MODELS, (2, 4), (0.08,)):
        pair = [
            step_cost(H100, load_model(model), kind, size)  # type: ignore[arg-type]
            for kind in ("analytic", "tabulated")
        ]
        off = [abs(pair[0].kernel_s(shape) / pair[1].kernel_s(shape) - 1) for shape in shapes]
        assert np.mean(off) < bar


def test_refused_sizes_and_tables() -> None:
    with pytest.raises(InputError, match="tensor_parallel = 3: expected 1, 2, 4 or 8"):
        AnalyticCost(H100, LLAMA, tensor_parallel=3)
    with pytest.raises(InputError, match=r"no \[all_reduce\] in its profile"):
        AnalyticCost(H100.model_copy(update={"all_reduce": None}), LLAMA, tensor_parallel=2)
    with pytest.raises(InputError, match=r"no operator table for llama-2-7b on 4 x h100.*llama-2-70b on 4"):
        step_cost(H100, load_model("llama-2-7b"), "tabulated", 4)
    assert step_cost(H100, load_model("llama-2-7b"), "auto", 4).kind == "analytic"
    cost: CostModel = step_cost(H100, LLAMA)
    assert cost.step_s(step([], [1024] * 8)) > 0


def test_a_table_is_of_one_shape() -> None:
    other = dataclasses.replace(LLAMA, layers=LLAMA.layers[:16])
    assert find_table(H100, LLAMA, 1) is not None
    assert find_table(H100, other, 1) is None
    assert find_table(H100, dataclasses.replace(LLAMA, quantization=UNIFORM["nvfp4"]), 1) is None
    assert find_table(load_gpu("l4"), LLAMA, 1) is None
    # Under another name it is the same model, however long its sequences may be, in the bits that were measured.
    tuned = dataclasses.replace(LLAMA, name="my-tuned-model", max_position_embeddings=4096)
    assert find_table(H100, tuned, 1).source == find_table(H100, LLAMA, 1).source
    assert find_table(H100, dataclasses.replace(tuned, vocab_size=32_000), 1) is None
    eight_bits = dataclasses.replace(load_model("llama-3.1-70b"), name="x", quantization=UNIFORM["fp8"])
    assert "llama-3.1-70b-fp8.tp2" in find_table(H100, eight_bits, 2).source
    assert find_table(H100, dataclasses.replace(eight_bits, name="qwen3-8b"), 2) is not None


def with_mlp(model: Model, part: LayerPart) -> Model:
    layers = tuple(layer._replace(parts=(layer.parts[0], part)) for layer in model.layers)
    return dataclasses.replace(model, layers=layers)


def test_experts_are_read_as_far_as_tokens_reach_them() -> None:
    dense = load_model("qwen3-8b")
    inner, hidden = dense.mlp_width // 3, dense.hidden_size
    moe = with_mlp(dense, experts(hidden, inner, 8, 2))
    cost, like = AnalyticCost(H100, moe), AnalyticCost(H100, dense)
    assert moe.weight_bytes_read(1) < moe.weight_bytes_read(4) < moe.weight_bytes_read(256)
    assert moe.weight_bytes_read(10**6) == moe.linear_parameters * 2
    assert cost.kernel_s(step([], [100])) > like.kernel_s(step([], [100]))
    # Many tokens: two experts' arithmetic, where the dense model has one's, in slower kernels.
    twice = with_mlp(dense, mlp(hidden, 2 * inner))
    many = step([(8192, 0)], [])
    dense_s = AnalyticCost(H100, twice).kernel_s(many)
    alone = AnalyticCost(H100.model_copy(update={"expert_kernels": None}), moe)
    assert dense_s < alone.kernel_s(many) < SLOWDOWN * dense_s
    assert alone.kernel_s(many) < cost.kernel_s(many)


def test_fewer_bits_a_weight_are_read_and_multiplied_faster() -> None:
    one, many = step([], [100]), step([(8192, 0)], [])
    full = AnalyticCost(H100, LLAMA)
    eight = AnalyticCost(H100, dataclasses.replace(LLAMA, quantization=UNIFORM["fp8"]))
    four = AnalyticCost(H100, dataclasses.replace(LLAMA, quantization=UNIFORM["nvfp4"]))
    assert four.kernel_s(one) < eight.kernel_s(one) < full.kernel_s(one)
    # H100 multiplies in 8 bits and has no units for 4: those are unpacked first.
    assert eight.kernel_s(many) < full.kernel_s(many) < four.kernel_s(many)


def test_outside_measured_range() -> None:
    #                 inside, idle, prefill too long, too many, too short, too long, inside
    columns = {
        "prefill_tokens": np.array([2048, 0, 16385, 0, 0, 0, 512]),
        "decode_seqs": np.array([4, 0, 0, 513, 2, 2, 0]),
        "decode_context_tokens": np.array([4000, 0, 0, 513_000, 2 * 128 - 1, 2 * 32_768 + 1, 0]),
    }
    for kind in ("analytic", "tabulated"):
        outside = COSTS[f"h100-80gb-sxm {kind}"].outside_measured_range(columns)
        assert outside.dtype == np.bool_
        assert outside.tolist() == [False, False, True, True, True, True, False]
    columns["prefill_tokens"][0] = 2049
    narrower = COSTS["rtx-pro-6000 tabulated"].outside_measured_range(columns)
    assert narrower.tolist() == [True, False, True, True, False, True, False]
    nothing_measured = COSTS["mi300x analytic"].outside_measured_range(columns)
    assert nothing_measured.tolist() == [True, False, True, True, True, True, True]
