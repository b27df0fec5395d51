"""Saved runs: listed, compared, measured anew, as text and as JSON; scenario files written and checked."""

import json

import jsonschema
import pytest

from simulator import Scenario
from simulator.cli import main as cli
from simulator.scenario.schema import scenario_schema

SMALL = ("--set", "workload.limit=60", "--no-plot")


def call(*words):
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for policy in ("vllm_v1", "orca"):
        assert call("run", *SMALL, "--set", f"policy.scheduling={policy}", "--out", root / policy) == 0
    assert call("run", "--set", "workload.limit=50", "--no-plot", "--out", root / "deep" / "other") == 0
    return root


def test_saved_runs_are_listed(runs, capsys):
    capsys.readouterr()
    (runs / "broken").mkdir(exist_ok=True)
    (runs / "broken" / "manifest.json").write_text("{")
    assert call("list", "runs", runs) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["folder", "scheduler", "GPU"]
    assert [row.split()[:4] for row in rows] == [
        [str(runs / "deep" / "other"), "vllm_v1", "h100-80gb-sxm", "50"],
        [str(runs / "orca"), "orca", "h100-80gb-sxm", "60"],
        [str(runs / "vllm_v1"), "vllm_v1", "h100-80gb-sxm", "60"],
    ]
    assert call("list", "runs", runs / "nothing") == 2
    assert "no folder" in capsys.readouterr().err


def test_saved_runs_are_compared_as_their_scenarios_would_be(runs, capsys):
    capsys.readouterr()
    assert call("compare", "--vary", "policy.scheduling=vllm_v1,orca", *SMALL) == 0
    simulated = capsys.readouterr().out
    assert call("compare", runs / "vllm_v1", runs / "orca") == 0
    assert capsys.readouterr().out == simulated
    assert call("compare", runs / "vllm_v1", runs / "orca", "--json", "--set", "user.preset=paper_v2") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == ["vllm_v1", "orca"]
    assert all(each["summaries"][0]["options"]["user"]["preset"] == "paper_v2" for each in found)


def test_saved_runs_of_other_traffic_are_refused(runs, capsys):
    assert call("compare", runs / "vllm_v1", runs / "deep" / "other") == 2
    assert "other serves other traffic than vllm_v1: 50 requests, not 60" in capsys.readouterr().err
    assert call("compare", runs / "vllm_v1", runs / "deep" / "other", "--different-traffic") == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["vllm_v1"], "expected two or more folders"),
        (["vllm_v1", "orca", "--seeds", "2"], "expected nothing else but folders"),
        (
            ["vllm_v1", "orca", "--set", "policy.scheduling=orca"],
            "a saved run can be measured anew only in user",
        ),
    ],
)
def test_what_saved_runs_cannot_answer_is_refused(runs, capsys, words, error):
    assert call("compare", *(runs / word if word in ("vllm_v1", "orca") else word for word in words)) == 2
    assert error in capsys.readouterr().err


def test_json_is_the_summary(runs, capsys):
    capsys.readouterr()
    assert call("show", runs / "orca", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((runs / "orca" / "summary.json").read_text())
    assert call("run", *SMALL, "--json", "--out", runs / "again") == 0
    again = json.loads(capsys.readouterr().out)
    assert again == json.loads((runs / "vllm_v1" / "summary.json").read_text())


def test_a_version_names_what_results_depend_on(capsys):
    assert call("--version") == 0
    out = capsys.readouterr().out
    assert out.startswith("servesim ")
    assert "simpy" in out
    assert "vllm-0.24 (20" in out
    assert "h100-80gb-sxm (20" in out


def test_no_command_is_refused_with_where_to_look(capsys):
    assert call("--no-such-option") == 2
    assert capsys.readouterr().err.count("\n") == 1


# Scenario files


def test_a_written_scenario_is_the_default_one_and_can_be_checked(tmp_path, capsys):
    path = tmp_path / "my.toml"
    assert call("init", path, "--set", "workload.limit=50", "--set", "hardware.gpu=h100") == 0
    assert Scenario.from_toml(path).hardware.gpu == "h100"
    capsys.readouterr()
    assert call("check", path) == 0
    assert capsys.readouterr().out == f"{path}: can be simulated: 50 requests, 2 replicas\n"
    assert call("init", path) == 2
    assert "exists; expected a new file" in capsys.readouterr().err


def test_every_scenario_that_cannot_be_simulated_is_named(tmp_path, capsys):
    bad = {"key": "[hardware]\ngpus = 1\n", "memory": '[hardware]\ngpu = "l4"\nmodel = "llama-3.1-70b"\n'}
    for name, text in bad.items():
        (tmp_path / f"{name}.toml").write_text(text)
    paths = [tmp_path / f"{name}.toml" for name in bad]
    assert call("check", paths[0]) == 2
    assert "hardware.gpus: unknown key" in capsys.readouterr().err
    assert call("check", *paths) == 2
    error = capsys.readouterr().err
    assert error.startswith("servesim: error: 2 of 2 scenarios: ")
    assert all(str(path) in error for path in paths)
    assert error.count("\n") == 1


def test_the_schema_takes_what_a_scenario_takes():
    schema = scenario_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    plain = {
        "hardware": {"gpu": "h100"},
        "policy": {"scheduling": "orca", "routing": {"name": "round_robin"}},
        "workload": {"trace": "azure2023_conv", "limit": 5},
        "user": {"preset": "paper_v2"},
    }
    assert validator.is_valid(plain)
    assert validator.is_valid(Scenario(**plain).to_tables())
    for table, key, value in (
        ("hardware", "gpus", "h100"),
        ("policy", "scheduling", "no_such"),
        ("workload", "limit", "many"),
        ("user", "alpha", "dear"),
    ):
        assert not validator.is_valid({**plain, table: {**plain.get(table, {}), key: value}}), (table, key)


def test_every_command_with_tables_has_json(capsys):
    """One without ``--json`` of its own prints its tables as ``--format json`` does."""
    for words in (("list", "gpus"), ("profile", "list")):
        assert call(*words, "--json") == 0
        as_json = capsys.readouterr().out
        assert call(*words, "--format", "json") == 0
        assert as_json == capsys.readouterr().out
        assert json.loads(as_json)["tables"][0]["rows"]
