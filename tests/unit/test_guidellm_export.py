"""A guidellm report of a run: its requests come back, and what it carries scores as the run does, to the last digit."""

import json

import numpy as np
import pytest

from simulator import InputError, Scenario, run
from simulator.replica.request import RequestState
from simulator.report.exports import export
from simulator.results.imports import read_runs
from simulator.results.measured import measured_result
from simulator.results.vocabulary import numbers

TRACE = {"trace": "azure2023_conv", "limit": 150, "rate_scale": 20.0}  # whose first request comes at 0
LITTLE = {"num_gpu_blocks": 700, "max_model_len": 8000}
KINDS = {
    "all complete": {},
    "preempted": {"engine": LITTLE},
    "late": {"policy": {"delivery": {"name": "jitter"}}},
    "cut off": {"engine": LITTLE, "run": {"horizon_s": 3.0}},
    "impatient": {"engine": LITTLE, "workload": TRACE | {"patience_s": 1.0}},
}


def exported(kind, tmp_path):
    scenario = Scenario(**{"workload": TRACE} | KINDS[kind])
    result = run(scenario)
    export(result, "guidellm", tmp_path / "benchmarks.json")
    return scenario, result, json.loads((tmp_path / "benchmarks.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_requests_come_back_with_their_first_and_last_token(kind, tmp_path):
    _, result, _ = exported(kind, tmp_path)
    (served,) = read_runs(tmp_path / "benchmarks.json")
    log = result.log
    np.testing.assert_array_equal(served.arrival_s, log.arrival_s)
    np.testing.assert_array_equal(served.prompt_tokens, log.prompt_tokens)
    np.testing.assert_array_equal(served.output_tokens, log.token_counts)
    np.testing.assert_array_equal(served.first_s, log.first_token_s)
    np.testing.assert_array_equal(served.last_s, log.last_token_s)
    np.testing.assert_array_equal(served.state == RequestState.COMPLETED, log.completed)


@pytest.mark.parametrize("kind", ["all complete", "preempted", "late"])
def test_what_it_carries_scores_as_the_run_does_to_the_last_digit(kind, tmp_path):
    scenario, result, _ = exported(kind, tmp_path)
    (served,) = read_runs(tmp_path / "benchmarks.json")
    scored = measured_result(served, tmp_path, scenario.model_dump(mode="json"))
    found, expected = (
        {name: value for name, value in numbers(each.summary()) if value is not None}
        for each in (scored, result)
    )
    carried = [
        name for name in found if name.startswith(("latency.ttft_s", "latency.e2e_s", "latency.tpot_s"))
    ]
    assert len(carried) >= 15
    assert {name: found[name] for name in carried} == {name: expected[name] for name in carried}


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_requests(kind, tmp_path):
    _, result, found = exported(kind, tmp_path)
    (benchmark,) = found["benchmarks"]
    done, log = result.log.completed, result.log
    totals = benchmark["metrics"]["request_totals"]
    assert (
        totals["total"]
        == log.n
        == sum(len(benchmark["requests"][name] or ()) for name in benchmark["requests"])
    )
    assert totals["successful"] == done.sum()
    for name, values in (
        ("time_to_first_token_ms", 1e3 * log.ttft_s[done]),
        ("request_latency", log.e2e_s[done]),
        ("inter_token_latency_ms", 1e3 * log.tpot_s[done & (log.token_counts > 1)]),
        ("output_token_count", log.token_counts[done]),
    ):
        summary = benchmark["metrics"][name]["successful"]
        assert summary["count"] == len(values)
        assert summary["mean"] == pytest.approx(values.mean(), rel=1e-9)
        assert summary["percentiles"]["p99"] == pytest.approx(np.percentile(values, 99), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_guidellm_itself_loads_it(kind, tmp_path):
    """Where guidellm is installed, which needs PyTorch; done by hand with 0.8.1."""
    report = pytest.importorskip("guidellm.benchmark.schemas.report")
    _, result, _ = exported(kind, tmp_path)
    loaded = report.GenerativeBenchmarksReport.load_file(tmp_path / "benchmarks.json")
    (benchmark,) = loaded.benchmarks
    assert len(benchmark.requests.successful) == result.log.completed.sum()
    first = benchmark.requests.successful[0]
    assert first.time_to_first_token_ms == pytest.approx(1e3 * result.log.ttft_s[int(first.request_id)])


def test_a_run_of_which_only_the_summary_was_kept_is_refused(tmp_path):
    low = run(Scenario(workload=TRACE, run={"trace_level": "summary"}))
    low.save(tmp_path / "r")
    with pytest.raises(InputError, match="no requests in this result"):
        export(type(low).load(tmp_path / "r"), "guidellm", tmp_path / "x")
