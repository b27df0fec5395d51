"""A plan for sessions: what cannot be tried is said, and a policy's parameters stand in its name."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

from simulator.cli import main as cli

PLAN = """
target = ["latency.ttft_s.p99 <= 2.0"]
replications = 2
[set]
workload.arrivals = "poisson"
workload.rate_rps = 4
workload.requests = 16
workload.prompt_tokens = 300
workload.output_tokens = 20
workload.session_turns = 2.0
workload.think_s = 0.2
[space]
gpus = ["l40s"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = [1, 2]
settings."policy.routing" = [{name = "prefix_affinity", match_share = 0.5}]
[budget]
gpus = {l40s = 1}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "p.toml").write_text(PLAN)
    with redirect_stdout(StringIO()) as printed:
        assert cli.main(["plan", f"{folder}/p.toml", "--out", f"{folder}/out", "--jobs=1"]) == 0
    return json.loads((folder / "out" / "plan.json").read_text()), printed.getvalue()


def test_what_is_no_trace_is_not_tried_and_said(planned):
    found, printed = planned
    checks = {check["what"]: check for check in found["robustness"]}
    assert checks["outputs x 1.25"]["keeps"] is None
    assert checks["traffic x 1.2"]["keeps"] is not None
    (row,) = (line for line in printed.splitlines() if line.startswith("outputs x 1.25  "))
    assert row.split()[3:] == ["not", "tried", "-", "-"]
    assert "outputs x 1.25: not tried: sessions and shared prefixes cannot be written as a trace" in printed


def test_a_policy_is_named_with_its_parameters(planned):
    found, printed = planned
    name = "1 x l40s, vllm_v1, routing prefix_affinity(match_share=0.5)"
    assert found["plan"]["name"] == name
    assert f"cheapest plan that keeps the target: {name}, $" in printed


def test_what_is_beyond_the_budget_is_counted(planned):
    _, printed = planned
    (row,) = (line for line in printed.splitlines() if line.startswith("beyond the budget, not in the space"))
    assert row.split()[-1] == "1"


def test_seeds_that_differ_have_intervals(planned):
    found, printed = planned
    assert "means over 2 seeds, intervals each for itself" in printed
    over = found["plan"]["numbers"]["latency.ttft_s.p99"]
    assert over["low"] < over["mean"] < over["high"]
