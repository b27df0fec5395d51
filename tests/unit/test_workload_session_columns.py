"""Columns of traces that tell of sessions and tenants; every fault is placed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build

AGENTIC = {"trace": "agentic_coding", "rate_rps": 0.1}
SHAREGPT = {"trace": "sharegpt_multiturn", "rate_rps": 0.5, "think_s": 10.0}
DRAWN = {
    "arrivals": "poisson", "rate_rps": 0.5, "lengths": "chat_azure2023", "requests": 3000,
    "session_turns": 4.0, "think_s": 20.0,
}  # fmt: skip
OWN = "session_id,prompt_tokens,output_tokens"


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def refused(**keys) -> str:
    with pytest.raises(InputError) as caught:
        build(Scenario(workload=keys).workload, 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(tmp_path, *rows, name="t.csv") -> str:
    path = tmp_path / name
    path.write_text("\n".join([*rows, ""]))
    return str(path)


def common(one, other) -> int:
    """How many tokens two prompts begin alike with."""
    found = 0
    for (stream, count), (other_stream, other_count) in zip(one, other, strict=False):
        if stream != other_stream:
            break
        found += min(count, other_count)
        if count != other_count:
            break
    return found


# Tenants


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
@pytest.mark.parametrize(("labels", "wanted"), [(["b", "a", "b"], [0, 1, 0]), ([5, 0, 5], [5, 0, 5])])
def test_tenants_and_sessions_are_numbers_or_texts_in_every_kind_of_file(tmp_path, name, labels, wanted):
    names = ["arrival_s", "prompt_tokens", "output_tokens", "tenant", "session_id"]
    columns = [[0.0, 1.0, 2.0], [9, 9, 9], [1, 1, 1], labels, [labels[0], None, labels[2]]]
    path = tmp_path / name
    if name == "t.parquet":
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)
    else:
        rows = list(zip(*columns, strict=True))
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        if name == "t.csv":
            lines = [
                ",".join(names),
                *(",".join("" if cell is None else str(cell) for cell in row) for row in rows),
            ]
        written(tmp_path, *lines, name=name)
    workload = make(trace=str(path))
    assert workload.tenant.tolist() == wanted
    assert workload.session.tolist() == [wanted[0], -1, wanted[2]]


def test_tenants_have_their_shares_and_shift_nothing_else():
    workload, plain = make(tenants=[0.7, 0.3]), make(priorities=[0.7, 0.3])
    assert plain.tenant is None
    counts = np.bincount(workload.tenant)
    assert abs(counts[0] - 0.7 * len(workload)) < 4.5 * np.sqrt(0.21 * len(workload))
    assert not np.array_equal(workload.tenant, plain.priority)
    assert np.array_equal(make(tenants=[0.7, 0.3], priorities=[0.7, 0.3]).tenant, workload.tenant)
    assert "tenants with shares 0.7, 0.3" in workload.source


# AIPerf


def test_sessions_as_aiperf_writes_them(tmp_path):
    path = written(
        tmp_path,
        '{"session_id": "a", "timestamp": 0, "input_length": 600, "output_length": 9, "hash_ids": [1, 2]}',
        '{"session_id": "a", "delay": 2500, "input_length": 1000, "output_length": 9, "hash_ids": [1, 3]}',
        '{"timestamp": 350, "input_length": 500, "output_length": 9, "hash_ids": [9]}',
        name="t.jsonl",
    )
    workload = make(trace=path)
    assert workload.arrival_s.tolist() == [0, 0.35, 2.5]
    assert workload.session.tolist() == [0, -1, 0]
    assert workload.think_s.tolist() == pytest.approx([np.nan, np.nan, 2.5], nan_ok=True)
    assert workload.segments == [((1, 512), (2, 88)), ((9, 500),), ((1, 512), (3, 488))]


def test_turns_as_bailian_writes_them(tmp_path):
    path = written(
        tmp_path,
        '{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 40, "output_length": 132,'
        ' "type": "text", "turn": 1, "hash_ids": [7, 8, 9]}',
        '{"chat_id": 160, "parent_chat_id": 159, "timestamp": 72.5, "input_length": 41, "output_length": 80,'
        ' "type": "text", "turn": 2, "hash_ids": [7, 8, 3]}',
        name="t.jsonl",
    )
    workload = make(trace=path)
    assert workload.arrival_s.tolist() == [61.114, 72.5]
    assert workload.segments == [((7, 16), (8, 16), (9, 8)), ((7, 16), (8, 16), (3, 9))]


# What is wrong


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"trace": "agentic_coding"}, "workload.rate_rps: missing; agentic_coding says nothing of when its"),
        ({**SHAREGPT, "think_s": None}, "workload.think_s: missing; sharegpt_multiturn says nothing of the t"),
        ({**AGENTIC, "think_s": 1.0}, "workload.think_s: agentic_coding says this itself"),
        ({"think_s": 1.0}, "workload.think_s: azure2023_conv has no sessions; expected a column session_id"),
        ({**SHAREGPT, "start_s": 1.0}, "workload.start_s: sharegpt_multiturn says nothing of when its sessions"),
        ({**SHAREGPT, "end_s": 1.0}, "workload.end_s: sharegpt_multiturn says nothing of when its sessions"),
        ({**SHAREGPT, "rate_rps": None, "rate_scale": 2.0}, "workload.rate_scale: sharegpt_multiturn says nothing"),
        ({**AGENTIC, "max_prompt_tokens": 9}, "every session's first prompt of agentic_coding is longer than 9"),
        ({**AGENTIC, "shared_prefixes": 2, "shared_prefix_tokens": 9}, "says this itself, in column hash_runs"),
        ({**DRAWN, "think_s": None}, "workload.think_s: missing; expected beside workload.session_turns"),
        ({**DRAWN, "session_turns": None}, "workload.session_turns: missing; expected beside workload.think_s"),
        ({**DRAWN, "session_turns": 0.5}, "workload.session_turns: expected a number >= 1, got 0.5"),
        ({**DRAWN, "max_prompt_tokens": 1}, "every session's first prompt of these sessions is longer than 1"),
        ({"session_turns": 2.0}, "workload.session_turns: only for synthetic traffic"),
        ({"max_think_s": 9.0}, "workload.max_think_s: azure2023_conv has no think times; expected workload.think_s"),
        ({**DRAWN, "session_turns": None, "think_s": None, "max_think_s": 9.0}, "workload.session_turns: missing"),
        ({"concurrency": 0}, "workload.concurrency: expected a number >= 1, got 0"),
        ({"concurrency": 4, "rate_rps": 1.0}, "workload.rate_rps: no meaning with workload.concurrency"),
        ({"concurrency": 4, "rate_scale": 1.0}, "workload.rate_scale: no meaning with workload.concurrency"),
        ({**DRAWN, "concurrency": 4}, "workload.concurrency: clients that wait for answers set the rate"),
        ({"tenants": [0.5, 0.4]}, "workload.tenants: expected shares that add up to 1, got [0.5, 0.4]"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused(keys, message):
    assert message in refused(**keys)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (OWN, ["a,9,1", ",9,1"], "line 3: session_id is empty; expected a whole number >= 0 or a text"),
        (OWN, ["-1,9,1"], "line 2: session_id is -1; expected a whole number from 0 to"),
        (f"{OWN},think_time_s", ["1,9,1,", "1,9,1,"], "line 3: think_time_s is empty; expected seconds, as only"),
        (f"{OWN},think_time_s", ["1,9,1,", "1,9,1,-2"], "line 3: think_time_s is -2; expected seconds >= 0"),
        (f"{OWN},session_offset_s", ["1,9,1,-2"], "line 2: session_offset_s is -2; expected seconds >= 0"),
        (f"{OWN},new_tokens", ["1,9,1,9", "1,19,1,11"], "line 3: 19 prompt tokens without 11 new_tokens leave 8"),
        (f"{OWN},new_tokens", ["1,9,1,10"], "line 2: new_tokens is 10; expected a whole number from 1 to the"),
        (f"{OWN},tenant", ["1,9,1,"], "line 2: tenant is empty; expected a whole number >= 0 or a text"),
        (f"{OWN},new_tokens,prefix_id,prefix_tokens", ["1,9,1,9,1,1"], "columns prefix_id and new_tokens found"),
        ("arrival_s,prompt_tokens,output_tokens,think_time_s", ["0,9,1,1"], "column think_time_s found without"),
        ("arrival_s,prompt_tokens,output_tokens,agent_id", ["0,9,1,1"], "column agent_id found without session_id"),
        (f"arrival_s,{OWN},think_time_s", ["0,1,9,1,", ",2,9,1,"], "line 3: arrival_s is empty; expected a number"),
        (f"arrival_s,{OWN},think_time_s", ["5,1,9,1,", "4,2,9,1,"], "line 3: arrival_s is 4.0 after 5.0 just"),
        (f"arrival_s,{OWN}", ["0,1,9,1", ",1,9,1"], "line 3: arrival_s is empty; expected a number"),
    ],
)  # fmt: skip
def test_a_fault_in_a_column_of_sessions_is_placed(tmp_path, header, rows, message):
    path = written(tmp_path, header, *rows)
    assert f"{path}: {message}" in refused(trace=path, rate_rps=1.0)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([1], "hash_runs has 1 entries; expected pairs of id and count"),
        ([1, 0], "hash_runs holds id 1 with count 0; expected an id >= 0 and a count >= 1"),
        ([1, 2], "hash_runs stands for 2 ids; expected 1, one for each full 64 of 70 prompt tokens"),
    ],
)
def test_a_fault_in_block_runs_is_placed(tmp_path, runs, message):
    row = {"session_id": 1, "prompt_tokens": 70, "output_tokens": 1, "hash_runs": [4, 1]}
    path = written(tmp_path, json.dumps(row), json.dumps({**row, "hash_runs": runs}), name="t.jsonl")
    assert f"{path}: line 2: {message}" in refused(trace=path, rate_rps=1.0, think_s=1.0)


def test_block_runs_are_equal_where_their_ids_are(tmp_path):
    rows = [
        {"session_id": 1, "prompt_tokens": 64 * 3 + 5, "output_tokens": 1, "hash_runs": [4, 3]},
        {"session_id": 1, "prompt_tokens": 64 * 3, "output_tokens": 1, "hash_runs": [4, 2, 9, 1]},
        {"session_id": 2, "prompt_tokens": 64 * 3, "output_tokens": 1, "hash_runs": [4, 3]},
    ]
    path = written(tmp_path, *map(json.dumps, rows), name="t.jsonl")
    one, two, other = make(trace=path, concurrency=1, think_s=1.0).segments
    assert one[-1] == (-1, 5)
    assert common(one, two) == 128
    assert common(one, other) == 0
