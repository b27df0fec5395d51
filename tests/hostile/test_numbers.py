"""Deployments that drop, refuse and cut off: the window covers every event, and readers who left get nothing."""

import json
import math

import numpy as np
import pytest

from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario

WORKLOAD = {"arrivals": "poisson", "rate_rps": 8.0, "requests": 60, "prompt_tokens": 300, "output_tokens": 40}
BUCKET = {"name": "token_bucket", "burst_tokens": 500.0, "rate_tokens_per_s": 300.0, "count": "prompt"}
LATE = {"name": "paced", "hold_s": 100.0}
CRASH = [{"kind": "crash", "replica": 0, "at_s": 1.0, "for_s": 20.0}]
CASES = {
    "rejected": {"policy": {"admission": BUCKET}},
    "all rejected": {"policy": {"admission": {**BUCKET, "burst_tokens": 1.0}}},
    "dropped": {"policy": {"abandonment": {"name": "missed_slo", "ttft_s": 0.05}}, "engine": {"max_num_seqs": 4}},
    "patience": {"workload": {"patience_s": 0.5}, "engine": {"max_num_seqs": 4}},
    "patience and a crash": {"workload": {"patience_s": 3.0}, "cluster": {"faults": {"events": CRASH, "retries": 0}}},
    "crash": {"cluster": {"faults": {"events": CRASH, "retries": 0}}},
    "late delivery": {"policy": {"delivery": LATE}, "workload": {"patience_s": 1.0}},
    "late delivery and a horizon": {"policy": {"delivery": LATE}, "run": {"horizon_s": 3.0}},
    "horizon": {"run": {"horizon_s": 2.0}},
    "horizon within a step": {"run": {"horizon_s": 1.2345678}, "cluster": {"replicas": 2}},
    "no patience": {"workload": {"patience_s": 1e-9}},
    "drafts": {"speculation": {"method": "ngram"}, "workload": {"patience_s": 0.7}, "run": {"horizon_s": 4.0}},
    "roles": {"cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}, "workload": {"patience_s": 0.5}},
    "far away": {"workload": {"start_s": None}, "user": {"v_s_per_token": 1e-6}},
    "one at a time": {"engine": {"max_num_seqs": 1}, "workload": {"patience_s": 2.0}},
}  # fmt: skip


def result_of(case, **more):
    sections = {**CASES[case], **more}
    workload = {**WORKLOAD, **sections.pop("workload", {})}
    return run(Scenario(workload=workload, metrics={"window": "whole"}, **sections))


@pytest.fixture(scope="module", params=CASES)
def result(request):
    return result_of(request.param)


def test_the_window_covers_every_event(result):
    log = result.log
    assert result.summary()["window"]["duration_s"] >= 0
    for name in ("arrival_s", "end_s", "delivered_s"):
        times = getattr(log, name)
        assert np.isfinite(times).all()
        assert (times <= log.all.end_of_run_s + 1e-9).all(), name
        assert (times >= log.start_s).all(), name
    assert (log.end_s >= log.arrival_s).all()


def test_a_reader_who_has_gone_gets_no_token(result):
    log = result.log
    request = np.repeat(np.arange(log.n), log.token_counts)
    assert (log.delivered_s <= log.end_s[request] + 1e-9).all()
    horizon_s = result.manifest["scenario"]["run"]["horizon_s"]
    if horizon_s is not None:
        assert (log.delivered_s <= horizon_s).all()
        assert log.end_of_run_s <= horizon_s


def test_every_request_is_in_one_state_and_all_numbers_are_numbers(result):
    summary = result.summary()
    states = [entry["count"] for name, entry in summary["states"].items() if isinstance(entry, dict)]
    assert sum(states) == result.log.n
    text = json.dumps(summary, allow_nan=False)  # no NaN, no infinity
    assert json.loads(text) == json.loads(json.dumps(summary))


def test_readers_who_get_nothing_of_what_they_asked_for_are_not_content():
    result = result_of("all rejected")
    assert result.summary()["qoe"]["qoe"]["mean"] == 0
    assert result.summary()["fluidity"]["fluidity_index"]["mean"] == 0


@pytest.mark.parametrize("requests", [1_100, 2_500])
def test_many_requests_that_leave_before_their_first_token_are_no_stall(requests):
    found = run(
        Scenario(
            workload={**WORKLOAD, "arrivals": "constant", "rate_rps": 1.0, "requests": requests, "prompt_tokens": 900},
            engine={"max_num_batched_tokens": 16, "max_num_seqs": 16},
            policy={"abandonment": {"name": "missed_slo", "ttft_s": 0.05}},
            run={"trace_level": "requests"},
        )
    )  # fmt: skip
    assert found.manifest["stalled"] is None
    assert found.summary()["states"]["abandoned_by_system"]["count"] == requests


@pytest.mark.parametrize("lateness", range(1, 8))
@pytest.mark.parametrize("v_s", [0.01, 0.05, 0.1, 0.3])
def test_lateness_of_whole_periods_is_no_matter_of_rounding(lateness, v_s):
    from simulator.metrics._log import RequestLog
    from simulator.metrics._options import UserModel
    from simulator.metrics.fluidity import fluidity_index

    found = []
    for shift in (-1e-12, 0.0, 1e-12):
        times_s = [v_s * (1 + lateness) + shift, v_s * (2 + lateness) + shift]
        log = RequestLog.from_lists([0.0], [times_s], end_of_run_s=10.0)
        found.append(float(fluidity_index(log, UserModel(v_s_per_token=v_s, first_token_allowance_s=0.0))[0]))
    assert len(set(found)) == 1
    assert math.isfinite(found[0])
