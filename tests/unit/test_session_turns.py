"""Turns that say what they add: the client sends the whole conversation with each."""

import json

import pytest

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build

CACHING = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}}
SESSIONS = [
    {"session_id": "a", "timestamp": 0, "input_length": 1000, "output_length": 20},
    {"session_id": "a", "delay": 2000, "input_length": 200, "output_length": 30},
    {"session_id": "b", "timestamp": 500, "input_length": 300, "output_length": 20},
    {"session_id": "b", "delay": 100, "input_length": 50, "output_length": 30},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def prompts(path, **keys):
    return sorted(build(WorkloadSpec(trace=path, **keys), 0).prompt_tokens.tolist())


def test_turns_of_aiperf_add_to_their_session(tmp_path):
    path = write(tmp_path / "sessions.jsonl", SESSIONS)
    assert prompts(path) == [300, 370, 1000, 1220]
    result = run(Scenario(policy=CACHING, workload={"trace": path}))
    found = result.manifest["prefix_cache"]
    assert (found["hit_tokens"], found["looked_up_tokens"]) == (1008 + 304, 2890)
    assert "what each adds" in result.manifest["workload"]["source"]


def test_whole_prompts_are_a_key(tmp_path):
    path = write(tmp_path / "sessions.jsonl", SESSIONS)
    assert prompts(path, turns="whole") == [50, 200, 300, 1000]


def test_a_third_turn_holds_two_answers(tmp_path):
    more = {"session_id": "a", "delay": 5, "input_length": 7, "output_length": 1}
    assert prompts(write(tmp_path / "t.jsonl", [*SESSIONS[:2], more])) == [1000, 1220, 1220 + 30 + 7]


def test_rows_without_a_session_or_alone_in_one_are_as_they_are(tmp_path):
    rows = [{"timestamp": 0, "input_length": 8, "output_length": 2}, SESSIONS[0] | {"timestamp": 5}]
    assert prompts(write(tmp_path / "t.jsonl", [*rows, SESSIONS[2]])) == [8, 300, 1000]


def test_blocks_that_are_sent_again_show_whole_prompts(tmp_path):
    rows = [
        {"session_id": "a", "timestamp": 0, "input_length": 1000, "output_length": 20, "hash_ids": [1, 2]},
        {"session_id": "a", "delay": 9, "input_length": 1300, "output_length": 20, "hash_ids": [1, 5, 6]},
    ]
    assert prompts(write(tmp_path / "t.jsonl", rows)) == [1000, 1300]
    rows[1]["hash_ids"] = [7, 8, 9]
    path = write(tmp_path / "t.jsonl", rows)
    assert prompts(path) == [1000, 2320]
    first, second = build(WorkloadSpec(trace=path), 0).segments
    assert first == ((1, 512), (2, 488))
    assert second == ((1, 512), (2, 488), (-1, 20), (-2, 1300))


def test_a_trace_of_this_project_may_say_so_too(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens,session_id,think_time_s\n0,10,5,1,\n,4,2,1,1.5\n")
    assert prompts(str(path)) == [4, 10]
    assert prompts(str(path), turns="added") == [10, 19]


def test_a_session_that_grows_without_bound_is_refused(tmp_path):
    rows = [{"session_id": "a", "delay": 1, "input_length": 10**9, "output_length": 1}] * 2
    rows[0] = rows[0] | {"timestamp": 0}
    with pytest.raises(
        InputError, match=r"line 2: the session comes to 2,000,000,001 prompt tokens; expected at most"
    ):
        build(WorkloadSpec(trace=write(tmp_path / "t.jsonl", rows)), 0)
