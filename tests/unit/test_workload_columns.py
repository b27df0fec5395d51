"""Optional columns of traces: priorities, patience, what prompts have in common; every fault is placed."""

import gzip
import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.workload import Workload, WorkloadSpec, build
from simulator.workload.formats import TraceFormat
from simulator.workload.reader import read_trace

OWN = "arrival_s,prompt_tokens,output_tokens"
ALL = f"{OWN},priority,patience_s,prefix_id,prefix_tokens"
ROWS = ["0,100,5,1,,7,60", "1.5,80,5,,2.5,7,60", "4,50,5,-2,0,,", "5,30,5,0,9,0,30"]


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        read_trace(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.fixture(params=["t.csv", "t.csv.gz", "t.parquet", "t.jsonl", "t.jsonl.gz"])
def trace(request, tmp_path):
    """The same four requests with all optional columns, in every kind of file."""
    path = tmp_path / request.param
    names = ALL.split(",")
    cells = [[float(cell) if cell else None for cell in row.split(",")] for row in ROWS]
    if path.suffix == ".parquet":
        whole = pa.int64()
        kinds = [pa.float64(), whole, whole, whole, pa.float64(), whole, whole]
        columns = zip(names, kinds, zip(*cells, strict=True), strict=True)
        pq.write_table(pa.table({name: pa.array(column, kind) for name, kind, column in columns}), path)
        return path
    if ".csv" in path.name:
        text = "\n".join([ALL, *ROWS, ""])
    else:
        entries = [dict(zip(names, row, strict=True)) for row in cells]
        del entries[2]["prefix_id"]  # absent is as good as null
        text = "\n".join(map(json.dumps, entries))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_optional_columns_read_the_same_from_every_kind_of_file(trace):
    workload = make(trace=str(trace))
    assert workload.priority.tolist() == [1, 0, -2, 0]
    assert workload.leave_s.tolist() == pytest.approx([np.nan, 4.0, 4.0, 14.0], nan_ok=True)
    assert workload.segments == [
        ((7, 60), (-1, 40)),
        ((7, 60), (-2, 20)),
        ((-3, 50),),
        ((0, 30),),
    ]
    assert workload.output_stream.tolist() == [-1, -2, -3, -4]
    assert workload.source.endswith("with priority, patience_s, prefix_id, prefix_tokens")


def test_they_survive_window_and_limit_and_patience_does_not_shrink_with_the_gaps(trace):
    workload = make(trace=str(trace), start_s=1.0, limit=2, rate_scale=2.0)
    assert workload.arrival_s.tolist() == [0.25, 1.5]
    assert workload.priority.tolist() == [0, -2]
    assert workload.leave_s.tolist() == [0.25 + 2.5, 1.5]
    assert workload.segments == [((7, 60), (-1, 20)), ((-2, 50),)]
    longest = make(trace=str(trace), max_prompt_tokens=80)
    assert longest.prompt_tokens.tolist() == [80, 50, 30]
    assert longest.priority.tolist() == [0, -2, 0]


def test_without_optional_columns_there_are_none():
    workload = make(limit=3)
    assert workload.priority is workload.leave_s is workload.segments is workload.output_stream is None


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("priority", ["0,9,5,1", "1,9,5,1.5"], "line 3: priority is 1.5; expected a whole number"),
        ("priority", ["0,9,5,x"], "line 2: priority is 'x'; expected a number"),
        ("priority", ["0,9,5,1e17"], "line 2: priority is 1e+17; expected a whole number of at most"),
        ("patience_s", ["0,9,5,-1"], "line 2: patience_s is -1; expected a number of seconds from 0"),
        ("patience_s", ["0,9,5,", "0,9,5,inf"], "line 3: patience_s is inf; expected a number of seconds"),
        ("prefix_id", ["0,9,5,1"], "column prefix_id found without prefix_tokens; expected both or neither"),
        ("prefix_tokens", ["0,9,5,1"], "column prefix_tokens found without prefix_id"),
        ("prefix_id,prefix_tokens", ["0,9,5,1,9", "0,9,5,1,10"], "line 3: prefix_tokens is 10; expected a whole"),
        ("prefix_id,prefix_tokens", ["0,9,5,1,"], "line 2: prefix_tokens is 0; expected a whole number from 1"),
        ("prefix_id,prefix_tokens", ["0,9,5,,3"], "line 2: prefix_tokens is 3; expected nothing, as prefix_id"),
        ("prefix_id,prefix_tokens", ["0,9,5,-4,3"], "line 2: prefix_id is -4; expected a whole number from 0"),
        ("prefix_id,prefix_tokens", ["0,9,5,1e16,3"], "line 2: prefix_id is 10000000000000000; expected a whole"),
        ("hash_ids", ["0,9,5,1"], "column hash_ids is a list, which CSV cannot hold; expected .parquet or .jsonl"),
        ("priority,priority", ["0,9,5,1,1"], "column priority is there 2 times; expected once"),
    ],
)  # fmt: skip
def test_a_fault_in_an_optional_column_is_placed(tmp_path, header, rows, message):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f"{OWN},{header}", *rows, ""]))
    assert message in refused(path)


# Mooncake

LINES = [
    {"timestamp": 1000, "input_length": 600, "output_length": 5, "hash_ids": [4, 9]},
    {"timestamp": 1500, "input_length": 1024, "output_length": 6, "hash_ids": [4, 8]},
]


def write_lines(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_mooncake_lines_are_milliseconds_and_blocks_of_512(tmp_path):
    workload = make(trace=str(write_lines(tmp_path / "m.jsonl", LINES[0], "\n", LINES[1])))
    assert workload.arrival_s.tolist() == [1.0, 1.5]
    assert workload.prompt_tokens.tolist() == [600, 1024]
    assert workload.segments == [((4, 512), (9, 88)), ((4, 512), (8, 512))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"input_length": 9}, "line 2: timestamp is empty; expected a number"),
        ({**LINES[1], "timestamp": 900}, "line 2: timestamp / 1000 is 0.9 after 1.0 just before"),
        ({**LINES[1], "timestamp": True}, "line 2: timestamp is true; expected a number"),
        ({**LINES[1], "timestamp": 10**400}, "line 2: timestamp is 1000"),
        ({**LINES[1], "input_length": "9"}, "line 2: input_length is '9'; expected a number"),
        ({**LINES[1], "input_length": 0}, "line 2: input_length is 0; expected a whole number of tokens"),
        ({**LINES[1], "hash_ids": [1]}, "line 2: hash_ids has 1 ids; expected 2, one for each 512 of 1024"),
        ({**LINES[1], "hash_ids": [1, -1]}, "line 2: hash_ids holds -1; expected ids >= 0"),
        ({**LINES[1], "hash_ids": [1, 2.5]}, "line 2: hash_ids is [1, 2.5]; expected a list of whole"),
        ({**LINES[1], "hash_ids": [1, None]}, "expected a list of whole numbers"),
        ({**LINES[1], "hash_ids": [1, " "]}, "expected a list of whole numbers"),
        ({**LINES[1], "hash_ids": None}, "line 2: hash_ids is empty; expected a list of whole numbers"),
        ("[1, 2]\n", "line 2: [1, 2] found; expected an object like"),
        ('{"a": 1\n', "line 2: not valid JSON (Expecting ',' delimiter, column 8); expected one object a line"),
        ("[" * 100_000, "line 2: not valid JSON"),
    ],
)  # fmt: skip
def test_a_fault_in_json_lines_is_placed_on_its_line(tmp_path, line, message):
    assert message in refused(write_lines(tmp_path / "m.jsonl", LINES[0], line))


def test_json_lines_that_are_not_are_refused(tmp_path):
    assert "the file is empty" in refused(write_lines(tmp_path / "e.jsonl"))
    wrong = {"time": 1, "prompt": 2}
    assert "columns 'time', 'prompt' found; expected" in refused(write_lines(tmp_path / "c.jsonl", wrong))
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\x1f\x8b\x08\x00")
    assert "not UTF-8 text but gzipped (its name should end in .jsonl.gz)" in refused(binary)
    cut = tmp_path / "c.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(LINES[0]).encode() * 500)[:-9])
    assert "not a readable gzipped JSON lines file" in refused(cut)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([[1], None], pa.list_(pa.int32())), "row 2: hash_ids is empty; expected a list of whole"),
        (pa.array([[1], [None]], pa.list_(pa.int32())), "row 2: hash_ids lacks an entry; expected a list"),
        (pa.array([[1], [2, 3]], pa.list_(pa.int32())), "row 2: hash_ids has 2 ids; expected 1"),
        (pa.array([["a"], [""]]), "row 2: hash_ids holds an empty text; expected ids of blocks"),
        (pa.array([[0.5], [1.5]]), "column hash_ids holds list<"),
        (pa.array([1, 2]), "column hash_ids holds int64; expected lists of whole numbers"),
    ],
)
def test_a_fault_in_parquet_lists_is_placed(tmp_path, ids, message):
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"arrival_s": [0, 1], "prompt_tokens": [9, 9], "output_tokens": [1, 1], "hash_ids": ids}),
        path,
    )
    assert message in refused(path)


def test_parquet_columns_of_large_numbers_or_of_nothing(tmp_path):
    path = tmp_path / "t.parquet"
    good = {"arrival_s": [0, 1], "prompt_tokens": [9, 9], "output_tokens": [1, 1]}
    pq.write_table(pa.table({**good, "prefix_id": [None, 2**60 + 1], "prefix_tokens": [None, 3]}), path)
    assert "row 2: prefix_id is 1.152921504606847e+18; expected a whole number from 0 to" in refused(path)
    pq.write_table(pa.table({**good, "prefix_id": pa.nulls(2), "prefix_tokens": pa.nulls(2)}), path)
    assert read_trace(path).prefix_id.tolist() == [-1, -1]
    pq.write_table(pa.table({**good, "priority": ["a", "b"]}), path)
    assert "column priority holds string; expected numbers" in refused(path)
    pq.write_table(pa.table({name: pa.nulls(0) for name in good}), path)
    assert "the trace is empty" in refused(path)


def test_two_ways_to_say_what_prompts_share_are_one_too_many(tmp_path):
    line = {"arrival_s": 0, "prompt_tokens": 9, "output_tokens": 1, "hash_ids": [1]}
    path = write_lines(tmp_path / "t.jsonl", {**line, "prefix_id": 1, "prefix_tokens": 2})
    assert "columns prefix_id and hash_ids found; expected one of the two" in refused(path)


# Columns made by hand


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"priority": [1]}, "priority has 1 entries; expected one for each of the 2 requests"),
        ({"segments": [((0, 3),)]}, "segments has 1 entries"),
        ({"priority": [1, 0.5]}, "request 1: priority is 0.5; expected a whole number"),
        ({"leave_s": [np.nan, -1.0]}, "request 1: leave_s is -1; expected a number of seconds"),
        ({"leave_s": [np.nan, np.inf]}, "request 1: leave_s is inf"),
    ],
)
def test_wrong_optional_columns_are_refused(column, message):
    with pytest.raises(InputError, match=message):
        Workload("w", [0.0, 1.0], [3, 4], [1, 2], 2, "test", **column)


def test_only_fields_of_a_request_are_taken():
    with pytest.raises(TypeError, match="a request has no field prority; it has priority, leave_s, tenant"):
        Workload("w", [0.0, 1.0], [3, 4], [1, 2], 2, "test", prority=[0, 1])
    with pytest.raises(AttributeError, match="a workload has no prority"):
        Workload("w", [0.0, 1.0], [3, 4], [1, 2], 2, "test").prority  # noqa: B018


def test_a_workload_is_copied_with_its_fields():
    workload = Workload("w", [0.0, 1.0], [3, 4], [1, 2], 2, "test", priority=[0, 1], tenant=None)
    for copied in (replace(workload, leave_s=[3, np.nan]), pickle.loads(pickle.dumps(workload))):
        assert copied.priority.tolist() == [0, 1]
        assert copied.tenant is None
    assert replace(workload, leave_s=[3, np.nan]).leave_s.tolist() == pytest.approx([3, np.nan], nan_ok=True)
    assert replace(workload, priority=[5, 6]).priority.tolist() == [5, 6]


def test_a_format_names_only_fields_that_traces_can_give():
    with pytest.raises(ValueError, match="fields: leave_s found; expected any of priority, tenant"):
        TraceFormat("at", "prompt", "output", fields={"leave_s": "patience"})
