"""Scenarios: validation in one sentence, overrides, TOML with every default, policies by file name."""

import tomllib

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.metrics import Slo, UserModel
from simulator.scenario import discover
from simulator.scenario.scenario import Scenario, default_scenario

SYNTHETIC = {"arrivals": "poisson", "rate_rps": 2.0, "requests": 9, "lengths": "chat_azure2023"}

MY_POLICY = """
from dataclasses import dataclass
from simulator.policy import Scheduler

@dataclass(frozen=True)
class MyPolicy(Scheduler):
    patience: int = 3

    def plan(self, step):
        step.decode_all()
"""


def refused(make) -> str:
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def round_trip(scenario: Scenario) -> Scenario:
    return Scenario(**tomllib.loads(scenario.to_toml()))


def test_the_printed_scenario_parses_back_to_the_same_and_spells_everything_out():
    scenario = default_scenario()
    text = scenario.to_toml()
    assert round_trip(scenario) == scenario
    dumped = scenario.model_dump()
    for section, table in dumped.items():
        if isinstance(table, dict) and section != "policy":
            assert f"\n[{section}]\n" in text
            for key, value in table.items():
                header = f"\n[{section}.{key}" if isinstance(value, dict) else f"\n{key} = "
                assert header in text or f"\n# {key} = " in text, f"{section}.{key}"
    for line in text.splitlines():
        policy_parameter = line.partition(" =")[0] in dumped["policy"]["scheduling"]
        if " =" in line and not policy_parameter:
            assert "  # " in line, f"no comment on {line}"


def test_sections_become_what_the_metrics_take():
    scenario = Scenario(user={"v_s_per_token": 0.1}, slo={"ttft_s": 2})
    assert scenario.user == UserModel(v_s_per_token=0.1)
    assert scenario.slo == Slo(ttft_s=2)
    assert Scenario(user=UserModel(), slo=Slo()) == Scenario()


def test_numpy_numbers_of_a_sweep_are_numbers():
    scenario = Scenario(seed=np.int64(4), workload={"rate_rps": np.float64(2), "limit": np.int32(7)})
    assert (scenario.seed, scenario.workload.rate_rps, scenario.workload.limit) == (4, 2.0, 7)


def test_overrides_reach_every_level_in_order_and_leave_the_original_alone():
    base = Scenario()
    changed = base.with_overrides(
        [
            "cluster.replicas=3",
            "cluster.replicas = 4",
            "hardware.model=./my/config.json",
            "user.v_s_per_token=.5",
            "slo.ttft_s=1e0",
            'name="a b"',
            "policy.scheduling.watermark=0.25",
            "policy.routing=least_loaded",
        ]
    )
    assert changed.cluster.replicas == 4
    assert changed.hardware.model == "./my/config.json"
    assert (changed.user.v_s_per_token, changed.slo.ttft_s, changed.name) == (0.5, 1.0, "a b")
    assert changed.policy.scheduling.name == base.policy.scheduling.name == "vllm_v1"
    assert changed.policy.scheduling.params == {**base.policy.scheduling.params, "watermark": 0.25}
    assert changed.policy.routing.name == "least_loaded"
    assert base == Scenario()


def test_another_policy_starts_from_its_own_parameters():
    scenario = Scenario().with_overrides(["policy.scheduling.watermark=0.25"])
    for override in ("policy.scheduling=orca", "policy.scheduling.name=orca"):
        assert scenario.with_overrides([override]).policy == Scenario(policy={"scheduling": "orca"}).policy


def test_none_unsets_and_synthetic_traffic_replaces_the_default_trace():
    scenario = Scenario().with_overrides([f"workload.{key}={value}" for key, value in SYNTHETIC.items()])
    assert scenario.workload.trace is None
    back = [f"workload.{key}=none" for key in SYNTHETIC]
    assert scenario.with_overrides(back) == Scenario()
    given_trace = Scenario(workload={"trace": "azure2023_code"})
    assert "workload.trace: 'azure2023_code' given together with workload.arrivals" in refused(
        lambda: given_trace.with_overrides(["workload.arrivals=burst"])
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.rate_rps=-3", "workload.rate_rps: expected a number > 0, got -3"),
        ("workload.rate_rps=nan", "workload.rate_rps: expected a finite number, got nan"),
        ("workload.rate_scale=inf", "workload.rate_scale: expected a finite number, got inf"),
        ("workload.rate_rps=fast", "workload.rate_rps: expected a number, got 'fast'"),
        ("workload.limit=2.5", "workload.limit: expected a whole number, got 2.5"),
        ("workload.arrivals=poison", "workload.arrivals: expected one of 'poisson'"),
        ("cluster.replicas=0", "cluster.replicas: expected a number >= 1, got 0"),
        ("cluster.replicas=true", "cluster.replicas: expected a whole number, got True"),
        ("cluster=3", "cluster: expected a table, got 3"),
        ("engine.gpu_memory_utilization=1.1", "expected a number <= 1, got 1.1"),
        ("hardware.gpu=3", "hardware.gpu: expected text in quotes, got 3"),
        ("seed=-1", "seed: expected a number >= 0, got -1"),
        ("engine.block_sise=8", "engine.block_sise: unknown key; did you mean 'block_size'?"),
        ("clutser.replicas=2", "clutser: unknown key; did you mean 'cluster'?"),
        ("user.v_s_per_tokn=1", "user.v_s_per_tokn: unknown key; did you mean 'v_s_per_token'?"),
        ("user.v_s_per_token=nan", "user.v_s_per_token must be a finite number"),
        ("slo.ttft=1", "slo.ttft: unknown key; did you mean 'ttft_s'?"),
        ("run.trim_warmup=1", "run.trim_warmup: expected a number < 1, got 1"),
        ("run.horizon_s=0", "run.horizon_s: expected a number > 0, got 0"),
        ("policy.scheduling=vlm_v1", "policy.scheduling: no policy 'vlm_v1'; did you mean 'vllm_v1'?"),
        ("policy.routing=round-robin", "did you mean 'round_robin'?"),
        ("policy.scheduling.watermrk=1", "vllm_v1 has no such parameter; did you mean 'watermark'?"),
        ("policy.scheduling.watermark=nan", "policy.scheduling.watermark: expected a finite number >= 0"),
        ("policy.scheduling.watermark=-1", "policy.scheduling.watermark: expected a finite number >= 0"),
        ("policy.scheduling.enable_chunked_prefill=7", "enable_chunked_prefill: expected a valid boolean"),
        ("policy.scheduling.max_num_seqs=7", "expected as engine.max_num_seqs"),
        ("policy.routing.x=7", "policy.routing.x: round_robin has no such parameter"),
        ("policy.scheduling=./gone.py", "no policy file gone.py"),
        ("policy.scheduling.name=3", "policy.scheduling: expected a name or a table with a name, got 3"),
        ("replicas", "expected section.key=value"),
        ("=4", "expected section.key=value"),
        ("seed.x.y=4", "seed"),
    ],
)
def test_a_wrong_override_is_one_sentence_that_names_the_key(override, message):
    assert message in refused(lambda: Scenario(seed=1).with_overrides([override]))


def test_further_problems_are_counted():
    text = refused(lambda: Scenario(seed=-1, cluster={"replicas": 0}, engine={"x": 1}))
    assert text == "seed: expected a number >= 0, got -1 (and 2 more problems)"


def test_trims_leave_something_to_measure():
    text = refused(lambda: Scenario(run={"trim_warmup": 0.5, "trim_cooldown": 0.5}))
    assert text.startswith("run.trim_warmup: ")


def test_a_file_is_named_and_an_override_can_complete_it(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text('[workload]\narrivals = "constant"\nrequests = 3\nprompt_tokens = 5\noutput_tokens = 2\n')
    text = refused(lambda: Scenario.from_toml(path))
    assert text.startswith(f"{path}: workload.rate_rps: missing")
    scenario = Scenario.from_toml(path, ["workload.rate_rps=2"])
    assert scenario.workload.rate_rps == 2
    assert scenario.name == "half"
    assert refused(lambda: Scenario.from_toml(path, ["workload.rate_rps=-2"])).startswith(
        "--set workload.rate_rps: "
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed = 0\n[cluster\nreplicas = 2\n", "line 2, column 9: not valid TOML: "),
        (b"seed = 0\nseed = 1\n", "line 2, column 9: not valid TOML: "),
        (b'name = "x', "not valid TOML"),
        (b'name = "\xff"', "line 1: not UTF-8 text"),
    ],
)
def test_a_file_that_is_not_toml_is_placed(tmp_path, content, message):
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    text = refused(lambda: Scenario.from_toml(path))
    assert text.startswith(f"{path}: ")
    assert message in text


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "no such file" in refused(lambda: Scenario.from_toml(tmp_path / "s.toml"))
    assert "cannot be read" in refused(lambda: Scenario.from_toml(tmp_path))


def test_a_policy_of_ones_own_lies_beside_the_scenario(tmp_path, monkeypatch):
    (tmp_path / "my_policy.py").write_text(MY_POLICY)
    path = tmp_path / "s.toml"
    for toml in (
        'policy.scheduling = "./my_policy.py"',
        '[policy.scheduling]\nname = "my_policy.py"\npatience = 3',
    ):
        path.write_text(toml)
        choice = Scenario.from_toml(path).policy.scheduling
        assert choice.params == {"patience": 3}
        assert discover.load("scheduling", choice.name).__name__ == "MyPolicy"
    monkeypatch.chdir(tmp_path)
    scenario = Scenario(policy={"scheduling": {"name": "./my_policy.py", "patience": 8}})
    assert scenario.policy.scheduling.params == {"patience": 8}
    assert round_trip(scenario) == scenario


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "p.py: line 1: not valid Python"),
        ("import nosuchmodule\n", "p.py: cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", "p.py defines 0 classes; expected exactly one"),
        ("class A: pass\nclass B: pass\n", "p.py defines 2 classes"),
        ("class P: pass\n", "p.py: P has no method route()"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    n: int\n    def route(self, *given): ...\n",
            "policy.routing.n: missing",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    n: int = 1\n"
            "    def __post_init__(self):\n        raise ValueError('n is odd')\n"
            "    def route(self, *given): ...\n",
            "line 6: n is odd",
        ),
    ],
)
def test_a_policy_file_that_does_not_work_is_named(tmp_path, source, message):
    (tmp_path / "p.py").write_text(source)
    assert message in refused(lambda: Scenario(policy={"routing": str(tmp_path / "p.py")}))


def test_policies_are_listed_by_file_name_without_importing_them(tmp_path, monkeypatch):
    import policies.routing

    (tmp_path / "boom.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "_helper.py").touch()
    monkeypatch.setattr(policies.routing, "__path__", [*policies.routing.__path__, str(tmp_path)])
    names = discover.discover("routing")
    assert "boom" in names
    assert "_helper" not in names
    assert {"round_robin", "least_loaded", "power_of_two"} <= set(names)
    assert {"vllm_v1", "vllm_v0", "orca", "static"} <= set(discover.discover("scheduling"))


@pytest.mark.parametrize("kind", ["scheduling", "routing"])
def test_every_shipped_policy_loads_and_can_be_chosen(kind):
    for name in discover.discover(kind):
        scenario = Scenario(policy={kind: name})
        assert getattr(scenario.policy, kind).params == discover.complete(kind, name, {})
