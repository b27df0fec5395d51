"""Which engine serves a policy: its rules, its defaults and its overheads, found by name."""

from pathlib import Path

import pytest

from hardware_profiles import engine_of, list_engines, load_engine, load_gpu
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cli.main import main
from simulator.errors import InputError
from simulator.replica.rules import DEFAULT_RULES
from simulator.report.report import warnings
from simulator.scenario.discover import discover, load
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario

NATIVE = {
    "vllm_v1": "vllm-0.24",
    "vllm_v0": "vllm-0.5",
    "sglang": "sglang-0.5",
    "pdmux_sglang": "sglang-0.5",
    "smooth": "vllm-0.24",
}
ASYNC, SYNC = "vLLM 0.15.1, asynchronous", "vLLM 0.12, synchronous"


def served(profile=None, **policy):
    engine = {} if profile is None else {"profile": profile}
    return resolve_pool(Scenario(engine=engine, policy={"scheduling": policy}))


def mine(folder, *lines):
    """The path of a policy with these lines in its class."""
    file = folder / "mine.py"
    body = "\n".join(f"    {line}" for line in (*lines, "def plan(self, step): ..."))
    file.write_text(f"from simulator.policy import Scheduler\n\n\nclass Mine(Scheduler):\n{body}\n")
    return str(file)


@pytest.mark.parametrize("name", list_engines())
def test_a_shipped_engine_is_named_as_its_file_and_fits_a_gpu(name):
    engine = load_engine(name)
    assert engine.name == engine.engine_rules.name == name
    blocks = {block for gpu in ("h100-80gb-sxm", "a100-80gb-sxm") for block in load_gpu(gpu).engine_overheads}
    assert blocks | {"trtllm-2025_10"} >= set(engine.overheads.fitted)


def test_a_deployment_of_objects_has_the_default_engine():
    assert load_engine("vllm-0.24").engine_rules == DEFAULT_RULES


@pytest.mark.parametrize("name", discover("scheduling"))
def test_every_shipped_policy_says_which_engine_it_is_named_after(name):
    assert served("native", name=name).profile.name == NATIVE.get(name, "prototype")


def test_vllm_is_native_to_its_version():
    assert served("native", name="vllm_v1", engine_version="0.11.0").profile.name == "vllm-0.11"


def test_a_policy_of_ones_own_is_native_to_the_default_engine(tmp_path):
    assert engine_of("native", load("scheduling", mine(tmp_path))()).name == "vllm-0.24"


@pytest.mark.parametrize("name", sorted({*discover("scheduling")} - {"adaserve", "muxwise", "pdmux_sglang"}))
def test_all_policies_pay_the_overheads_of_the_engine_they_run_on(name):
    server = served("vllm-0.24", name=name)
    assert server.cost.overheads.engine_version.startswith(ASYNC)
    assert server.engine_name == "vllm-0.24"
    assert server.rules == DEFAULT_RULES
    assert server.limits.block_size == 16


@pytest.mark.parametrize(
    "policy",
    [
        {"name": "vllm_v1", "async_scheduling": False},
        {"name": "smooth", "async_scheduling": False},
        {"name": "sglang", "disable_overlap_schedule": True},
        {"name": "vllm_v0", "scheduler_delay_factor": 0.5},
        {"name": "adaserve"},
        {"name": "muxwise"},
        {"name": "pdmux_sglang"},
    ],
    ids=str,
)
def test_who_decides_each_step_is_served_step_by_step_at_its_price(policy):
    server = served("vllm-0.24", **policy)
    assert server.engine_name == "vllm-0.24, step by step"
    assert server.cost.overheads.engine_version.startswith(SYNC)
    assert not server.measured


@pytest.mark.parametrize(
    ("profile", "version", "measured"),
    [
        ("vllm-0.24", ASYNC, False),
        ("vllm-0.15", ASYNC, True),
        ("vllm-0.12", SYNC, True),
        ("vllm-0.11", SYNC, False),
        ("vllm-0.5", SYNC, False),
        ("trtllm-1.0", "TensorRT-LLM 1.0.0rc3", True),
        ("sglang-0.5", "SGLang 0.5.1", True),
    ],
)
def test_overheads_are_those_fitted_to_the_engine_or_to_one_that_plans_alike(profile, version, measured):
    server = served(profile, name="vllm_v1")
    assert server.cost.overheads.engine_version.startswith(version)
    assert server.measured == measured


def test_kv_memory_is_a_share_of_all_or_of_what_is_free():
    vllm, trtllm = (served(name, name="vllm_v1").capacity for name in ("vllm-0.24", "trtllm-1.0"))
    assert vllm.kv_bytes == int(0.9 * vllm.memory_bytes) - vllm.weight_bytes - vllm.reserve_bytes
    free = trtllm.memory_bytes - trtllm.weight_bytes - trtllm.reserve_bytes
    assert trtllm.kv_bytes == int(0.9 * free)
    assert any("of what is free (x 0.9)" in line for line in trtllm.lines())


def test_an_engine_of_ones_own_is_a_file(tmp_path):
    shipped = Path(__file__).parents[2] / "hardware_profiles/engines/vllm-0.24.toml"
    text = (
        shipped.read_text()
        .replace('name = "vllm-0.24"', 'name = "mine"')
        .replace("null_blocks = 1", "null_blocks = 7")
    )
    (tmp_path / "mine.toml").write_text(text)
    scenario = Scenario(engine={"profile": "mine.toml"})
    server = resolve_pool(scenario, tmp_path)
    assert (server.profile.name, server.rules.null_blocks) == ("mine", 7)
    assert server.usable_blocks == server.limits.num_gpu_blocks - 7


def test_an_unknown_engine_is_refused_with_the_nearest(capsys):
    assert main(["run", "--set", "engine.profile=vllm-0.2"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "engine.profile: unknown engine 'vllm-0.2'" in said
    assert "did you mean 'vllm-0.24'?" in said


def test_a_wrong_file_is_refused_with_its_key(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    with pytest.raises(InputError, match=r"engine\.profile: .*mine\.toml: key 'description' is missing"):
        resolve_pool(Scenario(engine={"profile": "mine.toml"}), tmp_path)


@pytest.mark.parametrize("hook", ["def pipeline_depth(self): return 2", "null_blocks = 1"])
def test_a_policy_that_would_say_what_the_engine_says_is_refused(tmp_path, hook):
    file = mine(tmp_path, hook)
    with pytest.raises(
        InputError, match=r"mine\.py: Mine\.\w+ belongs to the engine; expected it in the profile"
    ):
        load("scheduling", file)


def test_an_explicit_policy_is_served_as_the_engine_says():
    rules = load_engine("vllm-0.11").engine_rules
    assert rules.serving(VllmV1(async_scheduling=True)).pipeline_depth == 1
    assert DEFAULT_RULES.serving(VllmV1(async_scheduling=False)).pipeline_depth == 1
    assert DEFAULT_RULES.serving(VllmV1()) is DEFAULT_RULES


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, None),
        ({"hardware": {"gpu": "a100-80gb-sxm"}}, "fitted on 1 H100, not on 1 a100-80gb-sxm"),
        (
            {"engine": {"profile": "vllm-0.12"}},
            "fitted on Qwen3-32B bf16 on 2 to 8 H100, not on 1 h100-80gb-sxm",
        ),
        ({"engine": {"profile": "vllm-0.12", "tensor_parallel_size": 2}}, None),
    ],
)
def test_overheads_that_were_fitted_elsewhere_are_a_warning(settings, says):
    result = run(Scenario(workload={"trace": "azure2023_conv", "limit": 5}, **settings))
    carried = [text for text in warnings(result.manifest, result.summary()) if "carried over" in text]
    assert [says in text for text in carried] == ([] if says is None else [True])
