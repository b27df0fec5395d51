"""Phases of requests follow one another from arrival to end, in every kind of run, and say what the records say."""

import json
from itertools import pairwise

import numpy as np
import pytest

from simulator import InputError, Result, Scenario, run
from simulator.cli import main as cli
from simulator.report.explain import explain, slowest
from simulator.report.exports import export
from simulator.report.phases import Histories
from simulator.results.imports import read_runs
from simulator.results.measured import measured_result

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 80, "lengths": "chat_azure2023"}
LITTLE = {"engine": {"num_gpu_blocks": 700, "max_model_len": 8000}}
KINDS = {
    "plain": {},
    "preempted": LITTLE,
    "swapped": {**LITTLE, "policy": {"scheduling": {"name": "vllm_v0", "preemption_mode": "swap"}}},
    "whole prompts": {"policy": {"scheduling": "vllm_v0"}},
    "sglang": {"policy": {"scheduling": "sglang"}},
    "disaggregated": {"cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 2}}},
    "migration": {
        "cluster": {"replicas": 2},
        "engine": {"num_gpu_blocks": 600},
        "policy": {
            "migration": {"name": "llumnix", "interval_s": 0.1, "send_below": 40.0, "receive_above": 41.0}
        },
    },
    "faults": {"cluster": {"replicas": 2, "faults": {"mtbf_s": 2.0, "repair_s": 0.5, "retries": 1}}},
    "late delivery": {"policy": {"delivery": {"name": "paced", "gap_s": 0.03}}},
    "cut off": {"run": {"horizon_s": 1.0}},
    "dropping": {"policy": {"admission": {"name": "queue_cap"}}},
}


@pytest.fixture(scope="module", params=KINDS)
def histories(request):
    return Histories.of(run(Scenario(workload=CHAT, **KINDS[request.param])))


def ends_s(histories, request):
    last, left = (histories.requests[name][request] for name in ("last_token_s", "end_s"))
    return np.fmax(last, left)


def test_phases_have_no_gaps_and_add_up(histories):
    for request, arrival_s in enumerate(histories.requests["arrival_s"]):
        phases = histories.phases(request)
        until_s = ends_s(histories, request)
        if not phases:  # refused at once
            assert until_s == arrival_s
            continue
        assert phases[0].start_s == arrival_s
        for one, other in pairwise(phases):
            assert one.end_s == other.start_s
            assert one.doing != other.doing
        if np.isfinite(until_s):
            assert phases[-1].end_s == until_s
            assert sum(phase.lasts_s for phase in phases) == pytest.approx(until_s - arrival_s, abs=1e-9)


def test_steps_are_those_of_the_records(histories):
    work, tokens = histories.work, histories.tokens
    for request in range(len(histories.requests["arrival_s"])):
        mine = tokens["request_id"] == request
        decoded = set(zip(tokens["replica"][mine], tokens["step"][mine], strict=True))
        rows = (work["request_id"] == request) & (work["kind"] == "prefill")
        computed = set(zip(work["replica"][rows], work["step"][rows], strict=True))
        counted = sum(phase.steps for phase in histories.phases(request))
        # Steps that end after the reader left are cut off, so there may be fewer.
        assert counted <= len(decoded | computed)
        if histories.requests["state"][request] == "completed":
            assert counted == len(decoded | computed)


def test_prefill_chunks_add_up_to_the_steps_tokens(histories):
    work = histories.work
    steps = histories.result.steps().to_pydict()
    computed, single = {}, {}
    for replica, step, kind, count in zip(
        *(work[name].tolist() for name in ("replica", "step", "kind", "tokens")), strict=True
    ):
        if kind == "prefill":
            computed[replica, step] = computed.get((replica, step), 0) + count
            single[replica, step] = single.get((replica, step), 0) + (count == 1)
    for replica, step, wanted in zip(
        *(steps[name] for name in ("replica", "step", "prefill_tokens")), strict=True
    ):
        found = computed.get((replica, step), 0)
        assert (
            wanted <= found <= wanted + single.get((replica, step), 0)
        )  # single tokens may count as decodes
    preempted = sum(kind == "preempted" for kind in work["kind"])
    assert preempted == sum(steps["preemptions"])


def test_a_trace_for_perfetto_has_lanes_that_add_up(histories, tmp_path):
    path = tmp_path / "trace.json"
    export(histories.result, "perfetto", path)
    trace = json.loads(path.read_text())
    lanes, open_slices, counters = {}, {}, 0
    for event in trace["traceEvents"]:
        assert {"name", "ph", "pid"} <= event.keys()
        if event["ph"] == "X":
            assert event["dur"] >= 0
            lanes.setdefault((event["pid"], event["tid"]), []).append(event)
        elif event["ph"] in "be":
            open_slices.setdefault((event["cat"], event["id"]), []).append(event["ph"])
        counters += event["ph"] == "C"
    assert all(found == ["b", "e"] for found in open_slices.values())
    assert counters == 3 * len(histories.result.steps())
    for events in lanes.values():
        for one, other in pairwise(events):
            assert other["ts"] >= one["ts"] + one["dur"] - 0.01  # microseconds: nothing overlaps in a lane
    for (process, thread), events in lanes.items():
        if process < 1_000_000:
            continue
        request = thread - 1
        took_us = 1e6 * (ends_s(histories, request) - histories.requests["arrival_s"][request])
        if np.isfinite(took_us):
            assert sum(event["dur"] for event in events) == pytest.approx(took_us, abs=1)


def test_explanations_say_every_phase(histories):
    for request in slowest(histories, 5):
        lines = explain(histories, int(request)).splitlines()
        assert lines[0].startswith(f"request {request}: ")
        assert len(lines) == 2 + len(histories.phases(int(request)))
        assert lines[-1].startswith("  its reader ")


def test_kinds_of_runs_show_what_they_are():
    def doing(kind):
        found = Histories.of(run(Scenario(workload=CHAT, **KINDS[kind])))
        return {phase.doing for request in range(80) for phase in found.phases(request)}

    assert {"queued", "prefill", "decode", "delivery"} <= doing("plain")
    assert "preempted" in doing("preempted")
    assert "paused" in doing("whole prompts")
    assert "transfer" in doing("disaggregated")
    assert not {"preempted", "transfer"} & doing("plain")


def test_a_request_that_is_handed_over_queued_where_its_prompt_was_computed():
    cluster = {"prefill": {"replicas": 1}, "decode": {"replicas": 2}}
    burst = {"arrivals": "burst", "requests": 30, "prompt_tokens": 3000, "output_tokens": 20}
    histories = Histories.of(run(Scenario(workload=burst, cluster=cluster)))
    assert set(histories.began_on.tolist()) == {0}
    assert set(histories.requests["replica"].tolist()) == {1, 2}
    assert "queued on replica 0, 3 requests running and 25 waiting before it" in explain(histories, 29)


def test_what_was_handed_over_does_not_run_where_it_came_from():
    cluster = {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}
    steady = {
        "arrivals": "constant",
        "rate_rps": 4.0,
        "requests": 40,
        "prompt_tokens": 200,
        "output_tokens": 200,
    }
    histories = Histories.of(run(Scenario(workload=steady, cluster=cluster)))
    assert "decode, 200 steps" in explain(histories, 39)  # longer than it takes for several more to arrive
    assert "queued on replica 0, " not in explain(histories, 39)
    late = {**steady, "rate_rps": 400.0}
    histories = Histories.of(run(Scenario(workload=late, cluster=cluster, engine={"max_num_seqs": 2})))
    assert "queued on replica 0, 2 requests running" in explain(histories, 39)


def test_who_overtook_is_named():
    workload = {"arrivals": "burst", "requests": 3, "prompt_tokens": 100, "output_tokens": 40}
    policy = {"scheduling": {"name": "sjf"}}
    result = run(
        Scenario(workload={**workload, "predictor": "perfect"}, policy=policy, engine={"max_num_seqs": 1})
    )
    histories = Histories.of(result)
    last = int(slowest(histories, 1)[0])
    text = explain(histories, last)
    assert "queued on replica 0, " in text
    assert "decode, 39 steps" in text


def test_the_command_explains_the_slowest_or_those_asked_for(tmp_path, capsys):
    folder = tmp_path / "r"
    assert cli.main(["run", "--set", "workload.limit=30", "--no-plot", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert cli.main(["explain", str(folder)]) == 0
    assert capsys.readouterr().out.count("\nrequest ") == 2
    assert cli.main(["explain", str(folder), "7"]) == 0
    assert capsys.readouterr().out.startswith("request 7: ")
    assert cli.main(["explain", str(folder), "7", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    log = Result.load(folder).log
    lasts_s = [phase["end_s"] - phase["start_s"] for phase in found["phases"]]
    assert sum(lasts_s) == pytest.approx(log.end_s[7] - log.arrival_s[7], abs=1e-6)
    assert len(found["said"]) > len(found["phases"])
    assert cli.main(["explain", str(folder), "30"]) == 2
    assert "no request 30; expected a number from 0 to 29" in capsys.readouterr().err
    (folder / "work.parquet").unlink()
    assert cli.main(["explain", str(folder)]) == 2
    assert "run it anew" in capsys.readouterr().err


def test_runs_without_tokens_and_times_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="kept requests; expected a run with trace_level = 'tokens'"):
        Histories.of(run(Scenario(workload=CHAT, run={"trace_level": "requests"})))
    result = run(Scenario(workload=CHAT))
    with pytest.raises(InputError, match=r"end_s: expected a time after start_s = 3"):
        export(result, "perfetto", tmp_path / "t.json", {"start_s": 3.0, "end_s": 2.0})
    export(result, "perfetto", tmp_path / "t.json", {"start_s": 0.5, "end_s": 0.6})
    some = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert all(
        5e5 - event["dur"] <= event["ts"] <= 6e5 for event in some if event["ph"] == "X" and event["pid"] == 1
    )


def test_a_real_server_has_no_phases(tmp_path):
    path = tmp_path / "bench.json"
    scenario = Scenario(workload=CHAT)
    export(run(scenario), "vllm_bench", path)
    (served,) = read_runs(path)
    with pytest.raises(InputError, match="of a real server the steps are not known"):
        Histories.of(measured_result(served, path, scenario.model_dump(mode="json")))
