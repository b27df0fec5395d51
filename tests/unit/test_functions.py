"""The commands as functions of Python: what they take, what comes back, what is refused."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

import servesim
from policies.scheduling.vllm_v1 import VllmV1
from servesim import InputError, Scenario
from simulator.functions.inputs import read_scenario
from tests.commands import servesim as command

TRAFFIC = {"trace": "azure2023_conv", "limit": 40}
BASE = Scenario(name="<b>base", workload=TRAFFIC)
POISSON = {"arrivals": "poisson", "rate_rps": 4.0, "requests": 100, "prompt_tokens": 200, "output_tokens": 20}
TTFT = "latency.ttft_s.mean"


@dataclass(frozen=True)
class Patient(VllmV1):
    """As vLLM, with a parameter that changes nothing."""

    patience: float = 5.0


LOCAL = type("Local", (Patient,), {})  # in no file under this name


def as_found(found, rows):
    """Check what all that is found can do."""
    assert found.table.num_rows == rows
    assert found.rows == found.table.to_pylist()
    assert isinstance(found.to_pandas(), pd.DataFrame)
    assert found.to_polars().shape == (rows, found.table.num_columns)
    assert pa.table(found) == found.table
    assert pl.DataFrame(found).height == rows
    assert repr(found).startswith(f"<{type(found).__name__} ")
    assert found._repr_html_().startswith("<div><strong>")
    assert "<b>" not in found._repr_html_()
    assert str(found).endswith("\n")


def test_scenarios_come_in_any_form(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(BASE.to_toml())
    for value in (BASE, str(file), file, {"name": "<b>base", "workload": TRAFFIC}):
        scenario, _ = read_scenario(value, {"cluster": {"replicas": 2}, "slo.ttft_s": np.float64(0.5)})
        assert (scenario.name, scenario.cluster.replicas, scenario.slo.ttft_s) == ("<b>base", 2, 0.5)
    assert read_scenario(file)[1] == tmp_path
    assert read_scenario(None)[0].cluster.replicas == 2
    assert read_scenario(BASE, {"workload.limit": None})[0].workload.limit is None
    with pytest.raises(InputError, match="scenario: expected a Scenario, the path of a scenario file"):
        read_scenario(3)
    with pytest.raises(InputError, match="settings: expected a dict"):
        read_scenario(BASE, ["cluster.replicas=2"])


def test_a_sweep(tmp_path):
    axes = {
        "policy.scheduling": ["vllm_v1", Patient, Patient(patience=2.0)],
        "cluster.replicas": np.array([1, 2]),
    }
    told = []
    found = servesim.sweep(BASE, axes, jobs=1, out=tmp_path, on_progress=lambda *each: told.append(each))
    as_found(found, 6)
    assert told == [(done, 6) for done in range(7)]
    assert found.table["policy.scheduling"].to_pylist()[::2] == [
        "vllm_v1",
        "Patient",
        "Patient(patience=2.0)",
    ]
    means = found.means(TTFT)
    assert means["Patient", 2] == means["vllm_v1", 2]
    alone = servesim.run(BASE.with_overrides(["cluster.replicas=2"])).summary()["latency"]["ttft_s"]["mean"]
    assert means["vllm_v1", 2].mean == alone
    assert found.failed == []
    assert all(isinstance(each, Figure) for each in found.figures().values())
    assert set(found.save(tmp_path)) >= {"sweep.csv", "sweep.parquet"}
    told.clear()
    servesim.sweep(BASE, axes, jobs=1, out=tmp_path, on_progress=lambda *each: told.append(each))
    assert told[0] == (2, 6)  # of a class nothing is kept


def test_a_sweep_in_other_processes_takes_classes_of_modules():
    axes = {"policy.scheduling": [Patient, "vllm_v1"]}
    found = servesim.sweep(BASE, axes, settings={"workload.limit": 20}, jobs=2)
    assert found.failed == []
    assert found.means(TTFT)["Patient",] == found.means(TTFT)["vllm_v1",]


def test_groups_and_ranges_are_as_in_a_study_file():
    paired = [{"cluster.replicas": [1, 2], "workload.limit": (10, 20)}]
    found = servesim.sweep(
        BASE, {"workload.rate_scale": {"from": 1.0, "to": 2.0, "steps": 2}}, paired=paired, jobs=1
    )
    places = [
        (row["workload.rate_scale"], row["cluster.replicas"], row["workload.limit"]) for row in found.rows
    ]
    assert places == [(1.0, 1, 10), (1.0, 2, 20), (2.0, 1, 10), (2.0, 2, 20)]


@pytest.mark.parametrize(
    ("axes", "more", "said"),
    [
        ({}, {}, "axes: missing"),
        ({"cluster.replicas": 3}, {}, "axes.cluster.replicas: expected a list of values or a range, got 3"),
        ({"cluster.replicas": []}, {}, "expected a list of values"),
        ({"cluster.replica": [1]}, {}, "cluster.replica: unknown key; did you mean 'replicas'"),
        ({"cluster.replicas": [1]}, {"replications": 0}, "replications: expected a whole number >= 1, got 0"),
        ({"cluster.replicas": [1]}, {"jobs": 0}, "jobs: expected a whole number >= 1, got 0"),
        ({"cluster.replicas": [1]}, {"metrics": "nothing"}, "metrics: no number 'nothing'"),
        ({"policy.scheduling": [Patient, Patient]}, {}, "axes: two values are called Patient"),
        ({"policy.scheduling": [object()]}, {}, "policy.scheduling: expected a name or a table"),
        (
            {"cluster.replicas": [1]},
            {"paired": [{"seed": [1, 2], "slo.ttft_s": [1.0]}]},
            "expected as many values for each key; seed has 2, slo.ttft_s has 1",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(axes, more, said):
    with pytest.raises(InputError) as refused:
        servesim.sweep(BASE, axes, **more)
    assert said in str(refused.value)


SCRIPT = """
from dataclasses import dataclass
import servesim
from policies.scheduling.vllm_v1 import VllmV1

@dataclass(frozen=True)
class Mine(VllmV1):
    ageing: float = 5.0

base = {"workload": {"trace": "azure2023_conv", "limit": 10}}
print(servesim.sweep(base, {"cluster.replicas": [1, 2, 3]}, jobs=2).failed)
axes = {"policy.scheduling": [Mine, "vllm_v1"]}
print(servesim.sweep(base, axes).failed)
try:
    servesim.sweep(base, axes, jobs=2)
except servesim.InputError as error:
    print(error)
"""


def test_a_script_needs_no_guard(tmp_path):
    (tmp_path / "study.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "study.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(servesim.__file__).parent.parent), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    processes, here, refused = done.stdout.splitlines()
    assert (processes, here, done.stderr) == ("[]", "[]", "")
    assert refused.startswith(
        "jobs: 2 with policy.scheduling = Mine, a class that other processes cannot import"
    )


def test_a_comparison():
    told = []
    found = servesim.compare(
        BASE, vary={"policy.scheduling": ["vllm_v1", Patient]}, on_progress=lambda *each: told.append(each)
    )
    as_found(found, 2)
    assert told == [(1, 2), (2, 2)]
    assert found.names == ["vllm_v1", "Patient"]
    assert found.summaries["vllm_v1"][0]["latency"] == found.summaries["Patient"][0]["latency"]
    assert found.results["Patient"][0].requests().num_rows == 40
    assert found.table[TTFT].to_pylist() == [
        found.summaries[name][0]["latency"]["ttft_s"]["mean"] for name in found.names
    ]


def test_a_comparison_is_the_commands(capsys):
    said = command(
        capsys,
        "compare",
        "--vary",
        "cluster.replicas=1,2",
        "--set",
        "workload.limit=40",
        "--seeds",
        "2",
        "--no-plot",
    )
    found = servesim.compare(vary={"cluster.replicas": [1, 2]}, settings={"workload.limit": 40}, seeds=2)
    assert str(found) == said
    found = servesim.compare({"one": BASE, "two": {"workload": TRAFFIC, "cluster": {"replicas": 2}}})
    assert found.names == ["one", "two"]
    assert servesim.compare([BASE, BASE]).names == ["<b>base-1", "<b>base-2"]


@pytest.mark.parametrize(
    ("scenarios", "more", "said"),
    [
        (BASE, {}, "scenarios: expected two or more, or one with vary"),
        ([BASE], {}, "scenarios: expected two or more, or one with vary, got 1"),
        (3, {}, "scenarios: expected a list or a dict by name, got 3"),
        ([BASE, 3], {}, "scenario: expected a Scenario"),
        ([BASE, BASE], {"vary": {"seed": [1, 2]}}, "scenarios: 2 with vary; expected one"),
        (BASE, {"vary": {"seed": [1]}}, "vary: seed: expected two or more different values"),
        (BASE, {"vary": "seed=1,2"}, "vary: expected a dict of one scenario key"),
        ([BASE, BASE], {"seeds": 0}, "seeds: expected a whole number >= 1, got 0"),
        (
            [BASE, {"workload": TRAFFIC | {"limit": 30}}],
            {},
            "serves other traffic than <b>base: 30 requests, not 40",
        ),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(scenarios, more, said):
    with pytest.raises(InputError) as refused:
        servesim.compare(scenarios, **more)
    assert said in str(refused.value)


def test_a_capacity(tmp_path, capsys):
    scenario = Scenario(name="c", workload=POISSON)
    found = servesim.capacity(
        scenario, "ttft_p99<=0.5", within=0.5, most_simulations=12, jobs=1, out=tmp_path
    )
    as_found(found, len(found.outcome.answer.runs))
    assert found.as_dict()["rate"] == found.rate
    assert found.gpus == 1
    assert isinstance(found.figure(), Figure)
    file = tmp_path / "c.toml"
    file.write_text(scenario.to_toml())
    said = command(
        capsys, "capacity", file, "--target", "ttft_p99<=0.5", "--within", "0.5", "--most-simulations", "12",
        "--out", tmp_path, "--jobs", "1",
    )  # fmt: skip
    assert str(found) == said
    assert json.loads((tmp_path / "answer.json").read_text())["rate"] == found.rate


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"target": "ttft_p99"}, "TTFT p99 is better the lower it is"),
        ({"within": 2}, "within: expected a number from 0.001 to 0.5, got 2"),
        ({"requests": 3}, "requests: expected at least 100, got 3"),
        ({"most_simulations": 0}, "most_simulations: expected a whole number >= 1, got 0"),
    ],
)
def test_a_capacity_that_cannot_be_is_refused(more, said):
    with pytest.raises(InputError) as refused:
        servesim.capacity({"workload": POISSON}, **more)
    assert said in str(refused.value)


def test_a_plan():
    space = {"gpus": ["l40s", "h100-80gb-sxm"], "tensor_parallel": [1], "shapes": ["colocated"], "replicas": [1, 2],
             "policies": ["vllm_v1", Patient], "settings": {}}  # fmt: skip
    found = servesim.plan({"workload": POISSON}, "ttft_p99 <= 2", space=space, checks=False, jobs=1)
    as_found(found, 8)
    assert found.keeps
    assert found.name.startswith("1 x l40s")
    assert found.usd_per_hour == min(found.table["usd_per_hour"].to_pylist())
    assert found.as_dict()["plan"]["name"] == found.name
    assert found.scenario.hardware.gpu == "l40s"
    assert found.launch
    assert isinstance(found.figure(), Figure)


@pytest.mark.parametrize(
    ("target", "more", "said"),
    [
        ((), {}, "plan: target: expected a list of bounds"),
        ("ttft_p99<=1", {"space": {"gpu": ["l40s"]}}, "plan: space.gpu: unknown key"),
        ("ttft_p99<=1", {"space": ["l40s"]}, "plan: space: expected a dict"),
        ("ttft_p99<=1", {"space": {"settings": 3}}, "plan: space.settings: expected a dict"),
        ("ttft_p99<=1", {"replications": 0}, "replications: expected a whole number >= 1, got 0"),
        ("ttft_p99<=1", {"settings": {"policy.scheduling": LOCAL}}, "Local was given as a class"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(target, more, said):
    with pytest.raises(InputError) as refused:
        servesim.plan({"workload": POISSON}, target, **more)
    assert said in str(refused.value)
