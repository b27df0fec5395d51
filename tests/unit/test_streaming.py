"""Traces are read batch by batch: equal results and sentences, early ends, and no more held than is kept."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import Workload, WorkloadSpec, build, csv_file, json_lines, parquet_file
from simulator.workload.columns import Parts, Pieces
from simulator.workload.reader import Trace, read_lengths, read_trace
from simulator.workload.segments import Begun

KINDS = ["t.parquet", "t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz"]
ROWS = 1000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of some tens of rows, and no file that is too small for pyarrow."""
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", 64)
    monkeypatch.setattr(json_lines, "_BATCH_ROWS", 64)
    monkeypatch.setattr(csv_file, "SMALL_BYTES", 100)
    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 1024)


def columns(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "arrival_s": np.round(np.cumsum(rng.exponential(1, rows)), 3).tolist(),
        "prompt_tokens": rng.integers(10, 2000, rows).tolist(),
        "output_tokens": rng.integers(1, 500, rows).tolist(),
        "priority": [None if x < 0 else x for x in rng.integers(-1, 3, rows).tolist()],
        "patience_s": [None if x < 2 else x for x in np.round(rng.exponential(9, rows), 2).tolist()],
        "tenant": [f"t{x}" for x in rng.integers(0, 9, rows).tolist()],
        "prefix_id": [None if x > 4 else x for x in rng.integers(0, 7, rows).tolist()],
    }


def with_prefixes(table):
    return {**table, "prefix_tokens": [None if x is None else 10 for x in table["prefix_id"]]}


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(pa.table(table), path, row_group_size=300)
        return path
    if ".csv" in path.name:
        cells = zip(*table.values(), strict=True)
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in cells]
        text = "\n".join([",".join(table), *lines, ""])
    else:
        rows = zip(*table.values(), strict=True)
        text = "\n".join(json.dumps(dict(zip(table, row, strict=True))) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture(params=KINDS)
def trace(request, tmp_path):
    return write(tmp_path / request.param, with_prefixes(columns()))


def same(one: Workload, other: Workload) -> None:
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "priority", "leave_s", "tenant"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert one.segments == other.segments


def make(path, **keys):
    return build(WorkloadSpec(trace=str(path), **keys), 0)


CUTS = [
    {},
    {"limit": 64},
    {"limit": 65, "max_prompt_tokens": 900},
    {"start_s": 200.0},
    {"start_s": 200.0, "end_s": 300.0},
    {"start_s": 100.5, "end_s": 700.0, "max_prompt_tokens": 500, "limit": 70},
    {"end_s": 5.0, "limit": 900},
]


@pytest.mark.parametrize("keys", CUTS)
def test_every_kind_of_file_is_cut_to_what_a_plain_loop_keeps(trace, keys):
    table = with_prefixes(columns())
    start, end = keys.get("start_s", 0.0), keys.get("end_s", np.inf)
    rows = [
        i
        for i, (at, prompt) in enumerate(zip(table["arrival_s"], table["prompt_tokens"], strict=True))
        if start <= at < end and prompt <= keys.get("max_prompt_tokens", 10**9)
    ][: keys.get("limit")]
    workload = make(trace, **keys)
    assert workload.arrival_s.tolist() == [table["arrival_s"][i] - start for i in rows]
    assert workload.prompt_tokens.tolist() == [table["prompt_tokens"][i] for i in rows]
    assert workload.output_tokens.tolist() == [table["output_tokens"][i] for i in rows]
    assert workload.priority.tolist() == [table["priority"][i] or 0 for i in rows]
    names = list(dict.fromkeys(table["tenant"]))
    assert workload.tenant.tolist() == [names.index(table["tenant"][i]) for i in rows]
    for k, i in enumerate(rows):
        prefix, own = table["prefix_id"][i], (-1 - k, table["prompt_tokens"][i])
        expected = (own,) if prefix is None else ((prefix, 10), (own[0], own[1] - 10))
        assert workload.segments[k] == tuple(piece for piece in expected if piece[1])


def test_one_batch_or_many_make_no_difference(trace, monkeypatch):
    many = [make(trace, **keys) for keys in CUTS]
    monkeypatch.undo()
    for keys, workload in zip(CUTS, many, strict=True):
        same(make(trace, **keys), workload)


def test_columns_are_compact_and_what_they_were(trace):
    found = read_trace(trace)
    for name in ("prompt_tokens", "output_tokens", "priority", "tenant", "prefix_id", "prefix_tokens"):
        assert getattr(found, name).dtype == np.int32
    assert found.arrival_s.dtype == np.float64
    assert [len(each) for each in read_lengths(trace)] == [ROWS, ROWS]
    whole = make(trace)
    for name in ("arrival_s", "prompt_tokens", "output_tokens"):
        column = getattr(whole, name)
        assert column.base is None
        assert not column.flags.writeable


def test_int32_and_int64_columns_serve_alike():
    small = Workload("w", np.array([0.0, 1.0]), *np.array([[3, 4], [1, 2]], np.int32), 2, "test")
    large = Workload("w", np.array([0.0, 1.0]), *np.array([[3, 4], [1, 2]], np.int64), 2, "test")
    assert (small.prompt_tokens.dtype, large.prompt_tokens.dtype) == (np.int32, np.int64)
    given_column = np.array([0.0, 1.0])
    copied = Workload("w", given_column, [3, 4], [1, 2], 2, "test")
    given_column[0] = 0.5
    assert copied.arrival_s[0] == 0
    with pytest.raises(InputError, match="request 1: prompt_tokens is 0"):
        Workload("w", [0.0, 1.0], np.array([3, 0], np.int32), [1, 2], 2, "test")


# What is wrong is placed as if all were read at once


BAD = [
    ("prompt_tokens", 0, "prompt_tokens is 0; expected a whole number of tokens >= 1"),
    ("prompt_tokens", None, "prompt_tokens is empty; expected"),
    ("output_tokens", 1.5, "output_tokens is 1.5; expected a whole number"),
    ("arrival_s", 1.0, "arrival_s is 1.0 after "),
    ("arrival_s", -1.0, "arrival_s is -1; expected a number of seconds from 0"),
    ("priority", 0.5, "priority is 0.5; expected a whole number"),
    ("patience_s", -1.0, "patience_s is -1; expected a number of seconds"),
    ("prefix_tokens", 5000, "prefix_tokens is 5000; expected a whole number from 1 to the prompt's tokens"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 64, 700, ROWS - 1])
@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_bad_row_in_any_batch_is_named(tmp_path, kind, row, name, value, message):
    if row == 0 and value == 1.0:
        return  # which is a good first arrival
    table = with_prefixes(columns())
    table["prefix_id"][row], table["prefix_tokens"][row] = 3, 10
    table[name][row] = value
    path = write(tmp_path / kind, table)
    place = {"t.parquet": f"row {row + 1}"}.get(kind, f"line {row + (1 if 'jsonl' in kind else 2)}")
    with pytest.raises(InputError) as caught:
        make(path)
    assert str(caught.value).startswith(f"{path}: {place}: {message}")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9999,x7,5", "prompt_tokens is 'x7'; expected a number"),
        ("9999,1_0,5", "prompt_tokens is '1_0'; expected a number"),
        ("9999,5", "2 values found; expected 3"),
        ("9999,5,5,5", "4 values found; expected 3"),
    ],
)
def test_a_bad_line_of_text_is_named_whoever_reads_it(tmp_path, monkeypatch, name, line, message):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    path = write(tmp_path / name, table)
    text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    text += b"\n" + line.encode() + b"\n"
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    for small in (100, 10**6):
        monkeypatch.setattr(csv_file, "SMALL_BYTES", small)
        with pytest.raises(InputError) as caught:
            read_trace(path)
        assert str(caught.value) == f"{path}: line {ROWS + 3}: {message}"


def test_a_file_cut_short_is_told_where_it_is_read_to_the_end(tmp_path):
    path = write(tmp_path / "t.csv.gz", with_prefixes(columns(20_000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="not a readable gzipped CSV file"):
        make(path)
    assert len(make(path, limit=100)) == 100


CELLS = st.sampled_from(
    ["1", " 2", "3 ", "4.0", "5e0", "+6", ".7e1", '"8"', "07", "nan", "inf", "", "x", "1_0", "٣"]
)


@given(
    st.lists(st.tuples(st.integers(0, 3), CELLS), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_plain_python_and_pyarrow_read_the_same_csv(tmp_path_factory, rows, end, blank):
    lines = ["arrival_s,prompt_tokens,output_tokens,priority"]
    lines += [f"{i},{cell if at == 1 else 5},{cell if at == 2 else 6},{cell if at == 3 else 7}" for i, (at, cell) in
              enumerate(rows)]  # fmt: skip
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes((end.join(lines) + end * (2 if blank else 1)).encode())
    found = []
    before = csv_file.SMALL_BYTES
    try:
        for small in (0, 10**6):
            csv_file.SMALL_BYTES = small
            try:
                read = read_trace(path)
                found.append(
                    [read.prompt_tokens.tolist(), read.output_tokens.tolist(), read.priority.tolist()]
                )
            except InputError as error:
                found.append(str(error))
    finally:
        csv_file.SMALL_BYTES = before
    assert found[0] == found[1]


# Ending early


@pytest.mark.parametrize("keys", [{"limit": 100}, {"end_s": 100.0}])
def test_what_lies_behind_is_not_looked_at(trace, keys):
    table = with_prefixes(columns())
    table["prompt_tokens"][900] = 0
    bad = write(trace.with_name("bad" + "".join(trace.suffixes)), table)
    same(make(bad, **keys), make(trace, **keys))
    with pytest.raises(InputError, match="prompt_tokens is 0"):
        make(bad)


def test_the_source_tells_how_many_there_are_where_that_is_known(trace):
    told = make(trace, limit=100).source
    if trace.suffix == ".parquet":
        assert "100 of 1,000 requests" in told
    else:
        assert "the first 100 requests" in told
    assert "of 1,000 requests" in make(trace, max_prompt_tokens=500).source
    assert "requests" not in make(trace).source


def test_an_empty_window_is_told_where_the_trace_ends(trace):
    times = columns()["arrival_s"]
    with pytest.raises(InputError) as caught:
        make(trace, start_s=times[10] + 1e-5, end_s=times[10] + 2e-5)
    assert str(caught.value).endswith(f"expected a window inside {times[0]:g} to {times[-1]:g} s")
    with pytest.raises(InputError, match=r"every prompt of .* longer than 2; the shortest has 1\d tokens"):
        make(trace, max_prompt_tokens=2)


# Columns of other kinds


@pytest.mark.parametrize("kind", ["t.parquet", "t.jsonl", "t.jsonl.gz"])
def test_lists_are_put_together_over_batches(tmp_path, kind):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    rng = np.random.default_rng(1)
    table["hash_ids"] = [rng.integers(0, 2**40, -(-n // 512)).tolist() for n in table["prompt_tokens"]]
    path = write(tmp_path / kind, table)
    workload = make(path, start_s=50.0)
    first = len(table["hash_ids"]) - len(workload)
    for k, ids in enumerate(table["hash_ids"][first:]):
        assert [stream for stream, _ in workload.segments[k]] == ids
        assert sum(tokens for _, tokens in workload.segments[k]) == table["prompt_tokens"][first + k]
    table["hash_ids"][700] = table["hash_ids"][700][:-1]
    with pytest.raises(InputError, match=r"(row 701|line 701): hash_ids has \d ids; expected \d"):
        make(write(tmp_path / kind, table))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [False, True])
def test_labels_are_numbers_only_if_all_of_them_are(tmp_path, kind, texts):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    table["tenant"] = [7 * (i % 3) for i in range(ROWS)]
    expected = table["tenant"]
    if texts:
        if kind == "t.parquet":
            table["tenant"] = list(map(str, table["tenant"]))
        table["tenant"][-1] = "x"
        expected = [*((i % 3) for i in range(ROWS - 1)), 3]
    assert make(write(tmp_path / kind, table)).tenant.tolist() == expected
    table["tenant"][500] = "" if texts else -3
    with pytest.raises(InputError) as caught:
        make(write(tmp_path / kind, table))
    if not texts:
        assert "501: tenant is -3" in str(caught.value) or "502: tenant is -3" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_traces_with_sessions_are_the_same_in_small_batches(tmp_path, kind, monkeypatch):
    rng = np.random.default_rng(2)
    session = rng.integers(0, 40, ROWS)
    so_far = np.zeros(40, int)
    table = {
        "session_id": [f"s{each}" for each in session],
        "think_time_s": [],
        "new_tokens": [],
        "prompt_tokens": [],
    }
    for each in session:
        table["think_time_s"].append(float(rng.integers(0, 50)) if so_far[each] else None)
        table["new_tokens"].append(int(rng.integers(1, 90)))
        so_far[each] += table["new_tokens"][-1]
        table["prompt_tokens"].append(int(so_far[each]))
    table["output_tokens"] = [1] * ROWS
    path = write(tmp_path / kind, table)
    keys = {"rate_rps": 0.5, "limit": 700, "max_prompt_tokens": 1500}
    many = make(path, **keys)
    monkeypatch.undo()
    one = make(path, **keys)
    for name in ("arrival_s", "prompt_tokens", "session", "think_s", "output_stream"):
        assert np.array_equal(getattr(one, name), getattr(many, name), equal_nan=True)
    assert one.segments == many.segments
    assert one.source == many.source


def test_keys_of_json_lines_may_come_up_late(tmp_path):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    path = tmp_path / "t.jsonl"
    rows[800]["priority"] = 2
    rows[900]["comment"] = "of no interest"
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = make(path)
    assert workload.priority.tolist() == [0] * 800 + [2] + [0] * 199
    assert make(path, limit=100).priority is None
    for row in rows[:100]:  # not even what must be there is in the first batch
        row["session_id"] = row.pop("arrival_s")
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"line 1: session_id is 0\.68; expected a whole"):
        Trace(path).read()


def test_parts_are_put_together_in_the_widest_type():
    parts = Parts()
    for start in range(0, 100, 7):
        numbers = np.arange(start, min(start + 7, 100))
        parts.add(
            a=numbers.astype(np.int32 if start < 50 else np.int64),
            b=None,
            c=Pieces(numbers, numbers, np.arange(len(numbers) + 1)),
        )
    assert parts.take("b") is None
    whole = parts.take("a")
    assert whole.tolist() == list(range(100))
    assert (whole.dtype, whole.base) == (np.int64, None)
    pieces = parts.take("c")
    assert pieces.offsets.tolist() == list(range(101))
    assert Begun(np.full(100, 1000), pieces.streams, pieces.tokens, pieces.offsets)[:3] == [
        ((-1, 1000),),
        ((1, 1), (-2, 999)),
        ((2, 2), (-3, 998)),
    ]


# Memory


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="tells the peak of one program on Linux only"
)
@pytest.mark.parametrize("kind", ["t.parquet", "t.csv.gz"])
def test_no_more_is_held_than_is_kept(tmp_path, kind):
    """Each row more that is kept takes at most 40 bytes, of which 16 stay; held whole, a file takes some 100."""
    path, rows = tmp_path / kind, 2_000_000
    table = pa.table(
        {
            "arrival_s": np.arange(rows) / 100,
            "prompt_tokens": np.arange(rows, dtype=np.int32) % 1000 + 1,
            "output_tokens": np.arange(rows, dtype=np.int32) % 100 + 1,
        }
    )
    if kind == "t.parquet":
        pq.write_table(table, path)
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            pa_csv.write_csv(table, file)
    program = (
        "import sys; from simulator.workload import WorkloadSpec, build;"
        "w = build(WorkloadSpec(trace=sys.argv[1], start_s=float(sys.argv[2])), 0);"
        "print(len(w), open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    kept, peaks = [], []
    for start_s in ("19990", "5000"):
        command = [sys.executable, "-c", program, str(path), start_s]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        n, peak = map(int, done.stdout.split())
        kept.append(n)
        peaks.append(peak * 1024)
    assert kept == [1000, 1_500_000]
    assert (peaks[1] - peaks[0]) / 1_500_000 < 40
