"""Pipeline parallelism: stages, their memory and their cost, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import (
    AnalyticCost,
    TabulatedCost,
    find_table,
    kv_capacity,
    load_gpu,
    load_link,
    load_model,
)
from hardware_profiles.pipeline import Layout, PipelineCost, layers_of_stages, pipeline_capacity, stage_models
from simulator.errors import InputError
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import resolve_pools
from simulator.scenario.scenario import Scenario

H100, IB = load_gpu("h100-80gb-sxm"), load_link("infiniband")
LARGE, SMALL = load_model("llama-3.1-70b"), load_model("qwen3-8b")
MODELS = ["llama-3.1-70b", "qwen3-8b", "qwen3-30b-a3b", "mixtral-8x7b", "qwen-2-7b"]


def shape(prompt: int = 0, decodes: int = 0, context: int = 0) -> StepShape:
    found = StepShape(decode_seqs=decodes, decode_context_tokens=decodes * context)
    if prompt:
        found.count(prompt, 0, False, 1)
    return found


def scenario(**engine: object) -> Scenario:
    return Scenario(hardware={"model": "llama-3.1-70b"}, engine={"tensor_parallel_size": 4, **engine})


def test_layers_are_divided_as_vllm_does() -> None:
    """vllm/distributed/utils.py: what is left over goes before the last stage, from the back."""
    assert layers_of_stages(LARGE, 4) == (20, 20, 20, 20)
    assert layers_of_stages(SMALL, 5) == (7, 7, 7, 8, 7)
    assert layers_of_stages(SMALL, 7) == (5, 5, 5, 5, 5, 6, 5)
    assert layers_of_stages(SMALL, 3, [10, 14, 12]) == (10, 14, 12)


@pytest.mark.parametrize("partition", [[10, 26, 1], [36], [0, 36], [18, 17]])
def test_a_partition_that_is_none_is_refused(partition: list[int]) -> None:
    with pytest.raises(
        InputError, match="expected 2 numbers of layers, each at least 1, that make up the 36"
    ):
        layers_of_stages(SMALL, 2, partition)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODELS), st.integers(1, 16), st.sampled_from([1, 2, 4]))
def test_stages_are_the_whole_model(name: str, stages: int, tensor_parallel: int) -> None:
    model = load_model(name)
    parts = stage_models(model, layers_of_stages(model, stages))
    copy = model.vocab_size * model.hidden_size if model.tie_word_embeddings and stages > 1 else 0
    assert sum(each.parameters for each in parts) == model.parameters + copy
    total = sum(each.weight_bytes_on(tensor_parallel) for each in parts)
    assert total == pytest.approx(
        model.weight_bytes_on(tensor_parallel) + 2 * copy / tensor_parallel, abs=100
    )
    kv = sum(each.kv_bytes_per_token_on(tensor_parallel) for each in parts)
    assert kv == model.kv_bytes_per_token_on(tensor_parallel)
    assert [each.vocab_size > 0 for each in parts] == [False] * (stages - 1) + [True]


def test_every_stage_has_the_blocks_of_the_one_that_fits_fewest() -> None:
    layout = Layout(layers_of_stages(LARGE, 4), 1)
    tightest, stages = pipeline_capacity(H100, LARGE, layout)
    assert tightest.num_blocks == min(each.num_blocks for each in stages)
    alone, _ = pipeline_capacity(H100, SMALL, Layout((36,)))
    assert alone == kv_capacity(H100, SMALL)


@pytest.mark.parametrize("kind", ["analytic", "tabulated"])
def test_stages_take_together_what_one_takes_and_what_is_between_them(kind: str) -> None:
    """Kernels scale with layers; each stage but the last adds an overhead and hands over."""
    whole: AnalyticCost | TabulatedCost = AnalyticCost(H100, SMALL)
    if kind == "tabulated":
        table = find_table(H100, SMALL, 1)
        assert table is not None
        whole = TabulatedCost(H100, SMALL, table)
    cost = PipelineCost(H100, SMALL, Layout((18, 18)), kind)  # type: ignore[arg-type]
    for step in (shape(decodes=32, context=1000), shape(prompt=2048), shape(2048, 16, 500)):
        overhead_s = whole.overheads.step_ms * 1e-3
        overhead_s += whole.overheads.prefill_step_ms * 1e-3 if step.prefill_seqs else 0.0
        hand_over_s = cost.hand_over_s(0, step.prefill_tokens + step.decode_seqs)
        expected_s = whole.step_s(step) + overhead_s + hand_over_s
        assert cost.step_s(step) == pytest.approx(expected_s, rel=0.02)
        assert cost.step_s(step) == sum(cost.stage_s(step))


def test_a_network_between_stages_and_inside_them_costs() -> None:
    step = shape(prompt=4096)
    inside = PipelineCost(H100, LARGE, Layout((40, 40), 4, 8))
    between = PipelineCost(H100, LARGE, Layout((40, 40), 4, 4, IB))
    across = PipelineCost(H100, LARGE, Layout((40, 40), 4, 2, IB))
    assert inside.step_s(step) < between.step_s(step) < across.step_s(step)
    sent_s = 2 * 4096 * 8192 * 2 / 4 / (50e9 * 0.845)
    assert between.hand_over_s(0, 4096) - inside.hand_over_s(0, 4096) < sent_s + 20e-6
    assert [Layout((1, 1, 1), 4, 8).crosses(stage) for stage in (0, 1)] == [False, True]
    assert across.measured_range is None


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"pipeline_parallel_size": 64, "tensor_parallel_size": 1}, None),
        (
            {"pipeline_parallel_size": 2, "pp_layer_partition": [40, 41]},
            "engine.pp_layer_partition: expected 2",
        ),
    ],
)
def test_layouts_by_key(engine: dict[str, object], says: str | None) -> None:
    if says is None:
        (pool,) = resolve_pools(scenario(**engine))
        assert (pool.gpus, pool.layout.stages, len(pool.stages)) == (64, 64, 64)
        return
    with pytest.raises(InputError, match=says):
        resolve_pools(scenario(**engine))


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"policy": {"scheduling": "sglang"}}, "2 with the policy 'sglang', which does not plan batches while"),
        ({"speculation": {"method": "ngram", "num_speculative_tokens": 3}}, "2 with speculation"),
        ({"cluster": {"prefill": {}, "decode": {}}}, "2 with cluster.prefill and cluster.decode"),
        ({"policy": {"migration": "llumnix"}}, "2 with policy.migration"),
        ({"hardware": {"model": "qwen3-8b"}, "engine": {"pipeline_parallel_size": 37}}, "at most the 36 layers"),
        (
            {"hardware": {"model": "qwen-2-7b"}, "engine": {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}},
            "must divide the query heads",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_in_a_sentence(tables: dict[str, object], says: str) -> None:
    whole = {"engine": {"pipeline_parallel_size": 2}, **tables}
    with pytest.raises(InputError, match=says):
        resolve_pools(Scenario(**whole))


def test_a_run_says_what_each_stage_holds_and_that_nothing_was_validated() -> None:
    from simulator.scenario.run import run

    traffic = {
        "arrivals": "constant",
        "rate_rps": 4,
        "requests": 20,
        "prompt_tokens": 500,
        "output_tokens": 30,
    }
    result = run(
        scenario(pipeline_parallel_size=2).with_overrides([f"workload.{k}={v}" for k, v in traffic.items()])
    )
    manifest = result.manifest
    assert "stage 1 of 2, 40 layers:" in manifest["hardware"]
    assert manifest["hardware"][-1].startswith(
        "every stage has as many KV blocks as the one that fits fewest"
    )
    assert any(
        "over several stages or nodes: not validated" in said for said in manifest["engine"]["model_remarks"]
    )
    assert (manifest["gpus"], manifest["pools"][0]["pipeline_parallel_size"]) == (8, 2)
    assert result.summary()["cost"]["gpus"] == 8
