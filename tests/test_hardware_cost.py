"""The analytic cost model: its stated errors, the laws of step times, the fast path's identity."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import AnalyticCost, list_gpus, load_gpu, load_model
from simulator.cost import CostModel, StepShape
from simulator.errors import InputError

DATA = Path(__file__).parent / "data" / "profiles"
MODELS = ("llama-3.1-8b", "qwen-2.5-14b")
COSTS = {
    (gpu, model): AnalyticCost(load_gpu(gpu), load_model(model))
    for gpu, model in itertools.product(list_gpus(), MODELS)
}
costs = st.sampled_from(list(COSTS.values()))
prefills = st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 8192)), max_size=4)
decodes = st.lists(st.integers(1, 32_768), max_size=8)


def step(prefill: list[tuple[int, int]], decode: list[int]) -> StepShape:
    """Return the shape of a step with prefills (n, prior) and decodes with these contexts."""
    return StepShape(
        prefill_tokens=sum(n for n, _ in prefill),
        prefill_seqs=len(prefill),
        prefill_attention_pairs=sum(n * prior + n * n / 2 for n, prior in prefill),
        prefill_context_tokens=sum(n + prior for n, prior in prefill),
        decode_seqs=len(decode),
        decode_context_tokens=sum(decode),
    )


def decode_step(batch: int, context: int) -> StepShape:
    return StepShape(decode_seqs=batch, decode_context_tokens=batch * context)


def relative_errors_pct(kind: str, gpu: str) -> list[tuple[dict[str, int], float]]:
    """Return, per row of a test table on ``gpu``, its integer columns and the kernel model's error in %."""
    found = []
    with (DATA / f"step_{kind}.csv").open() as file:
        for row in csv.DictReader(file):
            if row["gpu"] != gpu:
                continue
            cell = {key: int(row[key]) for key in row if key not in ("gpu", "model", "step_ms")}
            prefill = [(cell["new_tokens"], cell["prior_context"])] if "new_tokens" in cell else []
            shape = step(prefill, [])
            shape.decode_seqs = cell.get("batch", cell.get("decode_batch", 0))
            context = cell.get("context", cell.get("decode_context", 0))
            shape.decode_context_tokens = shape.decode_seqs * context
            predicted_ms = COSTS[gpu, row["model"]].kernel_s(shape) * 1e3
            found.append((cell, (predicted_ms / float(row["step_ms"]) - 1) * 100))
    return found


@pytest.mark.parametrize("gpu", ["a100-80gb-sxm", "h100-80gb-sxm"])
def test_errors_against_tables_are_those_the_profile_states(gpu: str) -> None:
    stated = load_gpu(gpu).kernel_fit.error
    prefill, decode, mixed = (relative_errors_pct(kind, gpu) for kind in ("prefill", "decode", "mixed"))
    first = [abs(error) for cell, error in prefill if cell["prior_context"] == 0]
    later = [abs(error) for cell, error in prefill if cell["prior_context"] > 0]
    assert np.mean(first) == pytest.approx(stated.prefill_pct, abs=0.1)
    assert np.mean(later) == pytest.approx(stated.prefill_after_prior_context_pct, abs=0.1)
    assert np.mean([abs(error) for _, error in decode]) == pytest.approx(stated.decode_pct, abs=0.1)
    # The shipped table of mixed steps is a thinned one, so its mean moves a little.
    assert np.mean([abs(error) for _, error in mixed]) == pytest.approx(stated.mixed_pct, abs=0.4)
    assert max(abs(error) for _, error in prefill + decode + mixed) <= stated.worst_pct + 0.1


@pytest.mark.parametrize(
    ("gpu", "prefill_pct", "later_pct", "decode_pct", "mixed_pct"),
    [("a100-80gb-sxm", 4.0, 3.6, 3.2, 3.7), ("h100-80gb-sxm", 2.6, 2.2, 2.7, 2.3)],
)
def test_errors_on_chunks_of_128_to_8192_tokens_and_decodes(
    gpu: str, prefill_pct: float, later_pct: float, decode_pct: float, mixed_pct: float
) -> None:
    chunks = [pair for pair in relative_errors_pct("prefill", gpu) if 128 <= pair[0]["new_tokens"] <= 8192]
    assert np.mean([abs(e) for cell, e in chunks if cell["prior_context"] == 0]) < prefill_pct
    assert np.mean([abs(e) for cell, e in chunks if cell["prior_context"] > 0]) < later_pct
    assert np.mean([abs(e) for _, e in relative_errors_pct("decode", gpu)]) < decode_pct
    assert np.mean([abs(e) for _, e in relative_errors_pct("mixed", gpu)]) < mixed_pct


def test_known_points_in_milliseconds() -> None:
    # One decode of 1024 tokens and a prefill of 2048: 6.2 and 43.5 ms of kernels in the H100 table.
    cost = COSTS["h100-80gb-sxm", "llama-3.1-8b"]
    assert cost.kernel_s(decode_step(1, 1024)) * 1e3 == pytest.approx(6.2, rel=0.05)
    assert cost.kernel_s(step([(2048, 0)], [])) * 1e3 == pytest.approx(43.5, rel=0.05)


@given(costs, prefills, decodes)
def test_step_is_kernels_with_engine_overheads(
    cost: AnalyticCost, prefill: list[tuple[int, int]], decode: list[int]
) -> None:
    shape = step(prefill, decode)
    overheads = cost.gpu.engine_overheads
    seqs = len(prefill) + len(decode)
    expected = 0.0
    if seqs:
        expected = overheads.kernel_factor * cost.kernel_s(shape)
        expected += (overheads.step_ms + overheads.per_sequence_ms * seqs) * 1e-3
    assert cost.step_s(shape) == pytest.approx(expected, rel=1e-12, abs=0)


@given(costs, prefills, decodes)
def test_pure_whatever_was_asked_before(
    cost: AnalyticCost, prefill: list[tuple[int, int]], decode: list[int]
) -> None:
    fresh = AnalyticCost(cost.gpu, cost.model)
    shape = step(prefill, decode)
    first = fresh.step_s(shape)
    fresh.step_s(step([(1, 0)], [5]))
    assert first == fresh.step_s(step(prefill, decode)) == cost.step_s(shape)


def test_beyond_the_memo_is_the_same_function() -> None:
    cost = COSTS["h100-80gb-sxm", "llama-3.1-8b"]
    huge = [cost.step_s(step([(tokens, 0)], [])) for tokens in (65_535, 65_536, 65_537, 65_537, 65_538)]
    assert huge == sorted(huge)
    assert huge[2] == huge[3]


def test_empty_step_costs_nothing() -> None:
    for cost in COSTS.values():
        assert cost.step_s(StepShape()) == 0.0 == cost.kernel_s(StepShape())


@given(costs, prefills, decodes, st.integers(1, 2048), st.integers(1, 4096))
def test_more_work_is_never_cheaper(
    cost: AnalyticCost, prefill: list[tuple[int, int]], decode: list[int], more: int, longer: int
) -> None:
    base = cost.step_s(step(prefill, decode))
    assert cost.step_s(step(prefill, [*decode, longer])) > base
    assert cost.step_s(step([*prefill, (more, 0)], decode)) > base
    if decode:
        assert cost.step_s(step(prefill, [decode[0] + longer, *decode[1:]])) > base
    if prefill:
        (tokens, prior), *others = prefill
        assert cost.step_s(step([(tokens + more, prior), *others], decode)) > base
        assert cost.step_s(step([(tokens, prior + longer), *others], decode)) > base


@given(costs, prefills, decodes)
def test_together_costs_between_the_dearer_part_and_the_sum(
    cost: AnalyticCost, prefill: list[tuple[int, int]], decode: list[int]
) -> None:
    both = cost.step_s(step(prefill, decode))
    parts = cost.step_s(step(prefill, [])), cost.step_s(step([], decode))
    assert max(parts) * (1 - 1e-12) <= both <= sum(parts) * (1 + 1e-12)


def test_it_is_a_cost_model_for_one_gpu_only() -> None:
    cost: CostModel = COSTS["h100-80gb-sxm", "llama-3.1-8b"]
    assert cost.step_s(decode_step(8, 1024)) > 0
    with pytest.raises(InputError, match="tensor_parallel = 2 is not supported yet"):
        AnalyticCost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b"), tensor_parallel=2)


def test_outside_measured_range() -> None:
    #                 inside, idle, prefill too long, too many, too short, too long, inside
    columns = {
        "prefill_tokens": np.array([2048, 0, 16385, 0, 0, 0, 512]),
        "decode_seqs": np.array([4, 0, 0, 513, 2, 2, 0]),
        "decode_context_tokens": np.array([4000, 0, 0, 513_000, 2 * 128 - 1, 2 * 32_768 + 1, 0]),
    }
    outside = COSTS["h100-80gb-sxm", "llama-3.1-8b"].outside_measured_range(columns)
    assert outside.dtype == np.bool_
    assert outside.tolist() == [False, False, True, True, True, True, False]
