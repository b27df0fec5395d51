"""Records that a trace format seldom has: what becomes of them, or the sentence that refuses them."""

import json

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.workload.formats import aiperf_graph
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs


def read(path, records, fmt):
    if isinstance(records, str):
        path.write_text(records)
    else:
        path.write_text("".join(f"{json.dumps(each)}\n" for each in records))
    trace = Trace(path, ReadAs(format=fmt))
    return trace, trace.read()[0]


def turn(text="0123", **more):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 3, **more}


def agent_round(**more):
    events = [{"event_type": "user_message", "timestamp": "2026-06-01T05:40:20.151Z"}]
    return {"session_id": "a", "input_tokens_total": 128, "output_tokens": 9, "timing_events": events} | more


def recorded(**more):
    return {"prompt_tokens": 32, "output_tokens": 5, "ttft_ms": 1.0, "arrival_ms": 0.0, **more}


def weka(**more):
    requests = [{"t": 0.0, "in": 128, "out": 9, "hash_ids": [1, 2]}]
    return {"id": "s", "block_size": 64, "requests": requests, **more}


@pytest.mark.parametrize(
    ("fmt", "records", "said"),
    [
        ("weka", [weka(block_size=0)], "block_size is 0; expected a whole number >= 1"),
        ("tracelab", [agent_round(session_id="")], "session_id is empty; expected a text"),
        ("tracelab", [agent_round(timing_events=[])], "timing_events is []; expected a list of events"),
        ("tracelab", [agent_round(timing_events=[3])], "timing_events is [3]; expected a list of events"),
        ("servegen_dataset", [{"0": 3}], "span 0 is 3; expected an object"),
        (
            "servegen_dataset",
            [{"0": {"input_tokens": "{39: 0.0}", "output_tokens": "{9: 1.0}"}}],
            "input_tokens of span 0 is '{39: 0.0}'; expected shares such as {39: 0.25, 40: 0.75}",
        ),
        (
            "aiperf_graph",
            [
                {"session_id": "root", "turns": [turn(spawns=["a"])]},
                {"session_id": "a", "turns": [turn(spawns=["b"])]},
                {"session_id": "b", "turns": [turn(spawns=["a"])]},
            ],
            "session_id is 'a'; expected sessions that do not start themselves, 200 deep at most",
        ),
        (
            "aiperf_graph",
            [{"session_id": "root", "turns": [turn()] * 9}],
            "session_id is 'root'; expected sessions that make 8 requests at most",
        ),
    ],
)
def test_what_no_tool_writes_is_refused(fmt, records, said, tmp_path, monkeypatch):
    monkeypatch.setattr(aiperf_graph, "_MOST", 8)
    with pytest.raises(InputError) as error:
        read(tmp_path / "t.jsonl", records, fmt)
    assert said in str(error.value)
    assert "t.jsonl" in str(error.value)


def test_a_gateway_says_who_goes_on_in_a_session(tmp_path):
    requests = [{"Prompt Length": 9, "Output Length": 2, "session_id": name} for name in ("a", "b", "a")]
    records = [{"timestamp": 20 * i, "requests": [each]} for i, each in enumerate(requests)]
    _, found = read(tmp_path / "t.jsonl", records, "aibrix")
    assert found.session.tolist() == [0, 1, 0]


def test_a_log_says_who_goes_on_in_a_conversation(tmp_path):
    records = [
        {"created": 10.0 + i, "prompt_tokens": 9, "completion_tokens": 2, "conversation_id": name}
        for i, name in enumerate(("a", "b", "a"))
    ]
    trace, found = read(tmp_path / "t.jsonl", records, "request_log")
    assert trace.format_name == "request_log"
    assert found.session.tolist() == [0, 1, 0]


def test_priorities_of_blis_are_kept(tmp_path):
    text = "request_id,input_tokens,output_tokens,arrival_time_us,vllm_priority\n0,9,3,0,2\n1,9,3,500,\n2,9,3,900,0\n"
    _, found = read(tmp_path / "t.csv", text, "blis")
    assert found.carried["priority"].tolist() == [2, 0, 0]


def test_blocks_of_a_recording_have_the_size_that_it_says(tmp_path):
    records = [
        {"meta": {"block_size": 8}},
        recorded(block_hashes=["x", "y", "z", "u"]),
        recorded(arrival_ms=5.0, block_hashes=["x", "y", "v"]),
    ]
    _, found = read(tmp_path / "t.jsonl", records, "vllm_vcr")
    first, second = (dict(each) for each in found.segments())
    assert sum(first[name] for name in first.keys() & second.keys()) == 16


def test_a_prompt_that_was_cached_whole_has_no_new_blocks(tmp_path):
    later = [{"event_type": "tool_result", "timestamp": "2026-06-01T05:41:20.151Z"}]
    records = [agent_round(), agent_round(prefix_tokens=128, timing_events=later)]
    _, found = read(tmp_path / "t.jsonl", records, "tracelab")
    first, second = found.segments()
    assert first == second


def test_a_span_in_which_nothing_came_has_no_pairs(tmp_path):
    shares = {"input_tokens": "{39: 1.0}", "output_tokens": "{9: 1.0}"}
    _, found = read(
        tmp_path / "t.json", json.dumps({"0": shares, "600": {"input_tokens": ""}}), "servegen_dataset"
    )
    assert len(found) == 1_000


def test_a_fork_beside_its_parent_is_waited_for_by_nobody(tmp_path):
    def sessions(background):
        forks = [{"child": "child", "background": background}]
        return [
            {"session_id": "root", "turns": [turn(spawns=["sub"]), turn()]},
            {"session_id": "sub", "turns": [turn("01234567", forks=forks)]},
            {"session_id": "child", "turns": [turn("0123")]},
        ]

    waits = {}
    for background in (False, True):
        _, found = read(tmp_path / "t.jsonl", sessions(background), "aiperf_graph")
        assert len(found) == 4
        waits[background] = sorted(np.diff(found.after.offsets).tolist())
    assert waits == {False: [0, 1, 1, 3], True: [0, 1, 1, 2]}
