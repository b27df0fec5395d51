"""Traces are read batch by batch: equal results, early ends, and no more held than is kept."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.workload import Workload
from simulator.workload.reader import read_lengths, read_trace
from tests.streamed_traces import KINDS, ROWS, columns, make, same, small_batches, with_prefixes, write  # noqa: F401


@pytest.fixture(params=KINDS)
def trace(request, tmp_path):
    return write(tmp_path / request.param, with_prefixes(columns()))


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
    for name in ("prompt_tokens", "output_tokens", "prefix_id", "prefix_tokens"):
        assert getattr(found, name).dtype == np.int32
    assert {name: column.dtype for name, column in found.carried.items()} == {
        "priority": np.int32,
        "tenant": np.int32,
    }
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

    def peak_bytes(start_s, n):
        command = [sys.executable, "-c", program, str(path), start_s]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, peak = map(int, done.stdout.split())
        assert kept == n
        return peak * 1024

    # What threads have read ahead when the peak comes differs with the load of the machine, by some 30 MB.
    for _ in range(3):
        a_row = (peak_bytes("5000", 1_500_000) - peak_bytes("19990", 1000)) / 1_500_000
        if a_row < 40:
            break
    assert a_row < 40
