"""The queue length of a summary: the mean number of waiting requests while the engine steps."""

import json

import pytest

from simulator import Result, Scenario, run
from tests.saved_faults import unseal


def overloaded(**run_table):
    return Scenario(
        hardware={"model": "llama-3.1-8b", "gpu": "a100-80gb-sxm"},
        workload={"arrivals": "poisson", "rate_rps": 60.0, "requests": 900, "lengths": "chat_sharegpt_vllm"},
        run=run_table,
    )


def test_the_mean_queue_is_the_sum_of_waits_over_the_busy_time():
    """Little's law for a run that drains; a step counts those who waited when it was planned, not who came since."""
    result = run(overloaded())
    engine = result.summary()["engine"]
    requests = result.requests().to_pydict()
    waits = zip(requests["first_scheduled_s"], requests["arrival_s"], strict=True)
    steps = result.steps().to_pydict()
    stepped_s = sum(end - start for start, end in zip(steps["start_s"], steps["end_s"], strict=True))
    assert engine["waiting_mean"] == pytest.approx(sum(b - a for b, a in waits) / stepped_s, rel=0.03)
    assert 0 < engine["waiting_mean"] < engine["waiting_max"]


def test_a_folder_saved_without_it_has_none(tmp_path):
    run(overloaded(trace_level="summary")).save(tmp_path / "r")
    unseal(tmp_path / "r")
    path = tmp_path / "r" / "manifest.json"
    manifest = json.loads(path.read_text())
    if "steps" in manifest:
        manifest["steps"].pop("waiting_s")
        path.write_text(json.dumps(manifest))
    assert Result.load(tmp_path / "r").summary()["engine"]["running_max"] > 0
