"""What SGLang does unless told otherwise: memory, chunks, overheads; when it looks at what has come."""

import pytest

from hardware_profiles import load_gpu, load_model, step_cost
from hardware_profiles.expert_parallel import RanksCost
from hardware_profiles.sglang_memory import mem_fraction_static
from policies.scheduling.sglang import Sglang
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.scenario import Scenario
from tests.sglang_server import Server
from tests.unit.test_engine_profiles import served

LAUNCH_MS = 50.0


def test_it_looks_at_what_has_come_after_so_many_decodes_or_a_prompt():
    server = Server(scheduler_recv_interval=3)
    server.arrive(10, 20)
    assert server.steps(2) == [({0: 10}, 0), ({}, 1)]  # at once, and again after the prompt
    server.arrive(5, 20)
    assert server.steps(3) == [({}, 1), ({}, 1), ({1: 5}, 0)]
    server.arrive(7, 20)
    assert server.step() == ({2: 7}, 0)


def test_one_that_comes_while_it_idles_does_not_wait():
    server = Server(scheduler_recv_interval=30)
    server.arrive(10, 2)
    server.steps(3)
    server.arrive(5, 2)
    assert server.step() == ({1: 5}, 0)


@pytest.mark.parametrize(
    "settings", [{"scheduler_recv_interval": 0}, {"scheduler_recv_interval": 2, "schedule_policy": "lpm"}]
)
def test_what_it_cannot_do_is_refused(settings):
    with pytest.raises(ValueError, match="scheduler_recv_interval"):
        Sglang(**settings)


def test_a_prompt_takes_at_least_as_long_as_its_kernels_take_to_launch():
    gpu, model = load_gpu("h200-sxm"), load_model("deepseek-r1")  # 58 of its 61 layers have experts
    overheads = gpu.overheads("sglang-0_5").model_copy(update={"expert_layer_launch_ms": LAUNCH_MS})
    none = overheads.model_copy(update={"expert_layer_launch_ms": 0.0})
    prompt = StepShape(
        prefill_seqs=1, prefill_tokens=64, prefill_context_tokens=64, prefill_attention_pairs=2048.0
    )
    decode = StepShape(decode_seqs=1, decode_context_tokens=64)
    for made in (
        lambda chosen: step_cost(gpu, model, tensor_parallel=8, overheads=chosen),
        lambda chosen: RanksCost(gpu, model, 8, overheads=chosen),
    ):
        launched, replayed = made(overheads), made(none)
        assert launched.step_s(prompt) == pytest.approx(58e-3 * LAUNCH_MS)
        assert replayed.step_s(prompt) < 0.1
        assert launched.step_s(decode) == replayed.step_s(decode)
    dense = [step_cost(gpu, load_model("qwen3-32b"), overheads=each) for each in (overheads, none)]
    assert dense[0].step_s(prompt) == dense[1].step_s(prompt)


def test_without_overlap_it_has_its_own_overheads_and_not_another_engines():
    server = served("sglang-0.5", name="sglang", disable_overlap_schedule=True)
    assert server.cost.overheads.engine_version.startswith("SGLang")
    assert not server.measured


@pytest.mark.parametrize(
    ("gpu", "parts", "reserved_gib"),
    [
        ("h100-80gb-sxm", (4, 1, 8192), 0.5 + 12 + 1 + 0.5),
        ("h100-80gb-sxm", (1, 1, 2048), 10.0),  # at the least
        ("l4", (1, 1, 2048), 0.5 + 3 + 48 / 1024 + 0.125),
        ("h200-sxm", (1, 8, 8192), 0.5 + 12 + 1 + 1 + 4.5 * 512 * 8 / 1024),  # data-parallel attention
    ],
)
def test_weights_and_kv_have_what_activations_and_graphs_leave(gpu, parts, reserved_gib):
    found = load_gpu(gpu)
    share = mem_fraction_static(found, *parts)
    assert share == pytest.approx(1 - reserved_gib / found.datasheet.memory_total_gib, abs=5e-4)


def test_chunks_and_memory_are_those_of_the_gpu_unless_given():
    def resolved(gpu, **engine):
        return resolve_pool(Scenario(hardware={"gpu": gpu}, engine={"profile": "sglang-0.5", **engine}))

    for gpu, tokens in (("l4", 2048), ("a100-80gb-sxm", 8192), ("b200-sxm", 16384)):
        pool = resolved(gpu)
        assert pool.limits.max_num_batched_tokens == tokens
        assert pool.capacity.gpu_memory_utilization == mem_fraction_static(pool.gpu, 1, 1, tokens)
        assert pool.capacity.activation_bytes == 0
    given = resolved("b200-sxm", gpu_memory_utilization=0.9, max_num_batched_tokens=4096)
    assert given.capacity.gpu_memory_utilization == 0.9
    assert given.limits.max_num_batched_tokens == 4096
