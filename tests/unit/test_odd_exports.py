"""Exports of runs in which nothing completed, that think, or do not say how long prompts are; words of odd readers."""

import json
import math

import pytest

from simulator import InputError, Scenario, run
from simulator.report.exports import export, perfetto
from simulator.report.report import report
from simulator.report.same_traffic import first_difference
from simulator.results.imports import read_runs
from simulator.results.measured import measured_result
from simulator.workload import WorkloadSpec, build
from tests import run_kinds

GENAI = {"experiments": [{"requests": [
    {"timestamp": 0, "response_timestamps": [10**9], "response_outputs": [{"response": "Hello"}]},
]}]}  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    return run_kinds.made("plain", "tokens")


@pytest.mark.parametrize("name", ["aiperf", "guidellm", "otel"])
def test_formats_that_need_prompts_say_so(name, tmp_path):
    (tmp_path / "f.json").write_text(json.dumps(GENAI))
    (served,) = read_runs(tmp_path / "f.json")
    scored = measured_result(served, tmp_path / "f.json", Scenario().model_dump(mode="json"))
    with pytest.raises(
        InputError, match=f"{name}: this result does not say how long prompts are; expected one"
    ):
        export(scored, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("start_s", [math.nan, True, "0"])
def test_a_lane_begins_at_a_time(plain, start_s, tmp_path):
    with pytest.raises(InputError, match="start_s: expected seconds, got"):
        perfetto.export(plain, tmp_path / "out", start_s=start_s)


def test_a_run_without_an_answer_has_no_peaks(tmp_path):
    workload = {"arrivals": "burst", "requests": 3, "prompt_tokens": 300, "output_tokens": 30}
    export(run(Scenario(workload=workload, run={"horizon_s": 0.001})), "vllm_bench", tmp_path / "bench.json")
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert (found["completed"], found["total_output_tokens"]) == (0, 0)
    assert (found["max_concurrent_requests"], found["max_output_tokens_per_s"]) == (0, 0.0)


def test_thinking_and_answers_of_one_token_go_along(tmp_path):
    workload = {"arrivals": "burst", "requests": 2, "prompt_tokens": 30, "output_tokens": 1}
    export(run(Scenario(workload=workload)), "aiperf", tmp_path / "one.jsonl")
    (first, _) = (json.loads(line) for line in (tmp_path / "one.jsonl").read_text("utf-8").splitlines())
    assert "inter_token_latency" not in first["metrics"]
    thinking = workload | {"output_tokens": 20, "thinking": [[1.0, 6]]}
    export(run(Scenario(workload=thinking)), "aiperf", tmp_path / "some.jsonl")
    (served,) = read_runs(tmp_path / "some.jsonl")
    assert served.thinking_tokens.tolist() == [6, 6]


def test_readers_who_tire_and_skim_are_described():
    user = {"fatigue": 0.1, "skim_after_tokens": 200, "skim_speedup": 3.0}
    result = run(Scenario(workload={"limit": 5}, user=user, run={"trim_warmup": 0.3}))
    said = report(result.manifest, result.summary()).render("plain")
    assert "is 3 times as fast after 200 tokens, takes 10 % longer for a token each 1,000 tokens." in said
    assert " of the warm-up and 0 of the cool-down" in said


def test_traffic_that_differs_in_what_prompts_share_is_told():
    keys = {"arrivals": "burst", "requests": 8, "prompt_tokens": 300, "output_tokens": 9}
    one, other = (
        build(WorkloadSpec(**keys, shared_prefixes=n, shared_prefix_tokens=100), seed=0) for n in (1, 3)
    )
    assert first_difference(one, other) == "prompts have other beginnings in common"
    assert first_difference(one, one) is None
