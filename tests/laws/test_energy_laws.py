"""Energy: a run's is that of its steps and of idling, caps only lower watts and lengthen steps, batches save."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import list_gpus, load_gpu, load_model, step_cost
from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.fit import step_shape
from hardware_profiles.power import capped_s, draw_of, watts
from servesim import Scenario, run
from simulator.errors import InputError
from simulator.studies.plan.goals import check_energy, parse_goals

H100 = load_gpu("h100-80gb-sxm").power
TRAFFIC = {"arrivals": "poisson", "rate_rps": 20.0, "requests": 40, "prompt_tokens": 700, "output_tokens": 30}


def ran(level="tokens", cluster=None, engine=None, **hardware):
    return run(
        Scenario(
            workload=TRAFFIC,
            hardware=hardware,
            cluster=cluster or {"replicas": 2},
            engine=engine or {},
            run={"trace_level": level},
        )
    )


@pytest.fixture(scope="module")
def metered():
    return ran(usd_per_kwh=0.25)


@settings(max_examples=60, deadline=None)
@given(
    memory=st.floats(0, 1.5),
    compute=st.floats(0, 1.5),
    lasted_s=st.floats(1e-4, 1.0),
    cap_w=st.floats(H100.memory_bound_w, H100.board_w),
)
def test_a_cap_never_raises_power_and_never_shortens_a_step(memory, compute, lasted_s, cap_w):
    busy_s = memory * lasted_s, compute * lasted_s
    uncapped_w, longer_s = float(power(*busy_s, lasted_s)), capped_s(H100, *busy_s, lasted_s, cap_w)
    capped_w = float(power(*busy_s, longer_s, cap_w))
    assert longer_s >= lasted_s
    assert capped_w <= min(uncapped_w, cap_w)
    lower = max(H100.memory_bound_w, 0.9 * cap_w)
    assert capped_s(H100, *busy_s, lasted_s, lower) >= longer_s
    if longer_s > lasted_s * (1 + 1e-9):  # the clock that it was slowed by gives just the cap
        memory_j = (H100.memory_bound_w - H100.idle_w) * min(busy_s[0], lasted_s)
        compute_j = (uncapped_w - H100.idle_w) * lasted_s - memory_j
        bound_s = min(busy_s[1], lasted_s)
        clock = bound_s / (bound_s + longer_s - lasted_s)
        joules = H100.idle_w * longer_s + memory_j + compute_j * clock**2
        assert joules / longer_s == pytest.approx(cap_w, rel=1e-6)
        assert capped_w == cap_w


def power(memory_s, compute_s, lasted_s, cap_w=None):
    return watts(H100, *(np.array(each) for each in (memory_s, compute_s, lasted_s)), cap_w)


@pytest.mark.parametrize("name", list_gpus())
def test_a_token_takes_fewer_joules_in_a_larger_batch_while_memory_binds(name):
    gpu, model = load_gpu(name), load_model("qwen3-8b")
    work, cost = AnalyticCost(gpu, model), step_cost(gpu, model)
    joules = []
    for seqs in (1, 2, 4, 8, 16, 32):
        shape = step_shape(decodes=seqs, context_tokens=500)
        lasted_s, busy_s = cost.step_s(shape), work.busy_s(shape)
        assert busy_s[0] > busy_s[1]
        one_w = watts(gpu.power, *(np.array(each) for each in (*busy_s, lasted_s)))
        assert gpu.power.idle_w < one_w <= gpu.power.board_w
        joules.append(float(one_w) * lasted_s / seqs)
    assert joules == sorted(joules, reverse=True)
    prompt = step_shape([(4096, 0)])
    assert work.busy_s(prompt)[0] < work.busy_s(prompt)[1]


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "llama-2-7b"])
def test_no_step_is_busier_than_it_is_long(model):
    gpu = load_gpu("h100-80gb-sxm")
    work = AnalyticCost(gpu, load_model(model))
    for shape in (step_shape(decodes=64, context_tokens=900), step_shape([(2000, 100)], 8, 900)):
        assert 0 < max(work.busy_s(shape)) <= work.step_s(shape)


def test_the_energy_of_a_run_is_that_of_its_steps_and_of_idling(metered):
    steps, said = metered.steps().to_pydict(), metered.summary()["energy"]
    lasted_s = np.subtract(steps["end_s"], steps["start_s"])
    arrived = metered.requests()["arrival_s"][0].as_py()
    gpu_s = 2 * (metered.manifest["end_of_run_s"] - arrived)
    joules = float(np.multiply(steps["above_idle_w"], lasted_s).sum()) + H100.idle_w * gpu_s
    assert min(steps["above_idle_w"]) > 0
    assert said["kwh"] * 3.6e6 == pytest.approx(joules)
    assert said["watts_per_gpu"] == pytest.approx(joules / gpu_s)
    assert said["idle_share"] == pytest.approx(H100.idle_w * gpu_s / joules)
    assert said["joules_per_output_token"] == pytest.approx(joules / (40 * 30))
    assert said["usd"] == pytest.approx(0.25 * joules / 3.6e6)


def test_what_is_kept_of_a_run_does_not_change_its_energy(metered, tmp_path):
    summary = metered.summary()["energy"]
    assert ran("summary", usd_per_kwh=0.25).summary()["energy"] == summary
    metered.save(tmp_path / "kept")
    loaded = type(metered).load(tmp_path / "kept")
    assert loaded.summary()["energy"] == summary
    assert loaded.steps().column_names == metered.steps().column_names


def test_nothing_changes_but_for_what_is_asked(metered):
    plain = ran()
    assert "energy" not in {**plain.summary(), **plain.manifest}
    assert "usd_per_kwh" not in plain.manifest["scenario"]["hardware"]
    assert plain.steps().equals(metered.steps().drop_columns("above_idle_w"))
    assert {**metered.summary(), "energy": None} == {**plain.summary(), "energy": None}


def test_a_cap_slows_a_run_and_lowers_its_watts(metered):
    capped = ran(usd_per_kwh=0.25, power_cap_w=340.0)
    one, other = metered.summary(), capped.summary()
    assert other["energy"]["watts_per_gpu"] < one["energy"]["watts_per_gpu"]
    assert other["latency"]["ttft_s"]["mean"] > one["latency"]["ttft_s"]["mean"]
    assert max(capped.steps()["above_idle_w"].to_pylist()) <= 340.0 - H100.idle_w + 1e-9
    roles = {"prefill": {"replicas": 1}, "decode": {"replicas": 1, "power_cap_w": 340.0}}
    pools = ran(usd_per_kwh=0.25, cluster=roles).manifest["energy"]["pools"]
    assert [pool["power_cap_w"] for pool in pools] == [None, 340.0]


def test_what_has_no_watts_is_refused():
    for words, asked in (
        ("expected 330 .* to 700 W", {"power_cap_w": 200.0}),
        ("several stages", {"power_cap_w": 400.0, "engine": {"pipeline_parallel_size": 2}}),
    ):
        with pytest.raises(InputError, match=rf"hardware.power_cap_w: .*{words}"):
            ran(**asked)
    with pytest.raises(InputError, match=r"has no \[power\] in its profile"):
        draw_of(load_gpu("h100-80gb-sxm").model_copy(update={"power": None}), "hardware.usd_per_kwh")
    goal = parse_goals("energy.kwh <= 1", "plan", ["energy.kwh"])
    check_energy(goal, 0.0, "plan")
    with pytest.raises(
        InputError, match=r"plan: target: energy.kwh is there with hardware.usd_per_kwh alone"
    ):
        check_energy(goal, None, "plan")


def test_the_page_says_what_the_formula_says():
    page = (Path(__file__).parent.parent.parent / "docs" / "energy.md").read_text("utf-8")
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b")
    work, cost = AnalyticCost(gpu, model), step_cost(gpu, model)

    def of(*shape):
        step = step_shape(*shape)
        lasted_s = cost.step_s(step)
        return float(power(*work.busy_s(step), lasted_s)), lasted_s

    (one_w, one_s), (many_w, many_s), (mixed_w, _) = (
        of([], 1, 500),
        of([], 128, 500),
        of([(512, 0)], 128, 500),
    )
    assert f"| {one_w:.0f} W |" in page
    assert f"{many_w:.0f} W decoding alone, {mixed_w:.0f} W with 512 prompt tokens" in page
    assert f"{one_w * one_s:.1f} J, {many_w * many_s / 128:.3f} J, 8B" in page
