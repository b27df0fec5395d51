"""Files of no known format, rows that are wrong or in no order, coarse time stamps: what a user can say of them."""

import json

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build, records
from simulator.workload.quantised import spread, stamps
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs
from simulator.workload.values import time_ns
from tests.streamed_traces import small_batches  # noqa: F401

OWN = "arrival_s,prompt_tokens,output_tokens"


def write(path, *lines):
    path.write_text("\n".join([*lines, ""]))
    return path


def three(path, **how):
    found = Trace(path, ReadAs(**how)).read()[0]
    return [each.tolist() for each in (found.arrival_s, found.prompt_tokens, found.output_tokens)]


@pytest.mark.parametrize(
    ("value", "unit", "ns"),
    [
        ("2023-11-16 18:15:46.6805900", None, 1_700_158_546_680_590_000),
        ("2023-11-16T18:15:46.123456789Z", "iso", 1_700_158_546_123_456_789),
        ("2023-11-16T20:15:46+02:00", "iso", 1_700_158_546_000_000_000),
        ("2023/11/16 18:15:46 UTC", None, 1_700_158_546_000_000_000),
        (1_700_158_546, None, 1_700_158_546_000_000_000),
        ("1700158546.25", None, 1_700_158_546_250_000_000),
        (1_700_158_546_250, None, 1_700_158_546_250_000_000),
        (1_700_158_546_250_001, None, 1_700_158_546_250_001_000),
        (1_700_158_546_250_001_002, None, 1_700_158_546_250_001_002),
        (5, None, 5_000_000_000),
        (5, "ms", 5_000_000),
        ("5", "us", 5_000),
        (5, "ns", 5),
    ],
)
def test_times_of_all_kinds(value, unit, ns):
    assert time_ns(value, "t", unit) == ns


@pytest.mark.parametrize(
    "value", ["", None, "yesterday", "2023-13-01", float("nan"), 1e300, True, [1], "1_0"]
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match=r"t is .*; expected a time"):
        time_ns(value, "t")


@pytest.mark.parametrize("kind", ["csv", "semicolons", "tabs", "jsonl", "json"])
def test_any_records_by_their_columns(tmp_path, kind):
    rows = [
        ("2026-01-01T00:00:00.25+01:00", 10, 5),
        ("2026-01-01T00:00:01+01:00", 20, 6),
        ("2025-12-31T23:00:02Z", 30, 7),
    ]
    path = tmp_path / f"t.{kind if kind in ('csv', 'jsonl', 'json') else 'csv'}"
    if kind in ("jsonl", "json"):
        records = [{"at": at, "n": {"in": prompt, "out": output}} for at, prompt, output in rows]
        text = "\n".join(map(json.dumps, records)) if kind == "jsonl" else json.dumps(records, indent=1)
        path.write_text(text)
        columns = "arrival=at:iso, prompt=n.in, output=n.out"
    else:
        mark = {"csv": ",", "semicolons": ";", "tabs": "\t"}[kind]
        write(path, *(mark.join(map(str, row)) for row in [("at", "n.in", "out"), *rows]))
        columns = "arrival=at,prompt=n.in,output=out"
    assert three(path, columns=columns) == [[0.0, 0.75, 1.75], [10, 20, 30], [5, 6, 7]]


def test_columns_may_say_all_that_a_trace_can(tmp_path):
    path = write(
        tmp_path / "t.csv",
        "ms,a,b,who,wait,p,from",
        "0,10,5,x,,2,acme",
        "500,30,6,x,1500,1,acme",
        "700,9,9,y,,0,zeta",
    )
    columns = "arrival=ms:ms,prompt=a,output=b,session=who,think=wait:ms,priority=p,tenant=from"
    found = Trace(path, ReadAs(columns=columns)).read()[0]
    assert found.arrival_s.tolist() == [0.0, 0.5, 0.7]
    assert found.think_s.tolist()[1] == 1.5
    assert found.carried["priority"].tolist() == [2, 1, 0]
    assert found.carried["tenant"].tolist() == [0, 0, 1]


def test_lengths_alone_need_a_rate(tmp_path):
    path = write(tmp_path / "t.csv", "i,o", *(f"{i},{i}" for i in range(1, 101)))
    spec = {"trace": str(path), "columns": "prompt=i,output=o"}
    with pytest.raises(InputError, match="says nothing of when its requests start; expected requests/s"):
        build(WorkloadSpec(**spec), 0)
    traffic = build(WorkloadSpec(**spec, rate_rps=4.0), 0)
    assert traffic.prompt_tokens.tolist() == list(range(1, 101))
    assert traffic.session is None
    assert 99 / traffic.arrival_s[-1] == pytest.approx(4.0, rel=0.3)
    assert len(build(WorkloadSpec(**spec, concurrency=3), 0)) == 100


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "prompt=a",
            "workload.columns: no output_tokens in 'prompt=a'; expected prompt=COLUMN,output=COLUMN",
        ),
        ("a,b", "workload.columns: 'a' found; expected NAME=COLUMN with a name out of arrival, prompt"),
        ("color=a,prompt=b,output=c", "workload.columns: 'color=a' found"),
        ("prompt=a,prompt=b,output=c", "workload.columns: prompt_tokens is given twice"),
        ("arrival=nix,prompt=a,output=b", "t.csv: line 2: nix is empty; expected a time"),
        ("arrival=ts:iso,prompt=a,output=b", "t.csv: line 2: ts is '5'; expected a time such as"),
        ("arrival=ts,prompt=a,output=ts", "t.csv: line 3: ts is 'x'; expected a "),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, columns, message):
    path = write(tmp_path / "t.csv", "ts,a,b", "5,1,2", "x,1,2")
    with pytest.raises(InputError) as caught:
        Trace(path, ReadAs(columns=columns)).read()
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_rows_are_skipped_and_counted(tmp_path, kind):
    good = [(i, 10 + i, 5) for i in range(300)]
    bad = {50: (50, 0, 5), 120: (1, 10, 5), 121: (121, 10, -3), 200: (200, "x", 5), 299: (299, 10, 0)}
    rows = [bad.get(i, row) for i, row in enumerate(good)]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        lines = [OWN, *(",".join(map(str, row)) for row in rows), "300,1"]
    else:
        lines = [
            "",
            *(json.dumps(dict(zip(OWN.split(","), row, strict=True))) for row in rows),
            '{"arrival_s": 30',
        ]
    write(path, *lines)
    with pytest.raises(InputError, match="line 52: prompt_tokens is 0"):
        Trace(path).read()
    trace = Trace(path, ReadAs(skip_bad=True))
    found = trace.read()[0]
    assert found.arrival_s.tolist() == [i for i in range(300) if i not in bad]
    assert len(trace.skipped) == 6
    assert sorted(line for lines in trace.skipped.reasons().values() for line in lines) == [
        52,
        122,
        123,
        202,
        301,
        302,
    ]
    assert "6 bad rows skipped: " in trace.said[0]
    assert "output_tokens: expected a whole number of tokens >= 1 (first: line 123)" in trace.said[0]
    source = build(WorkloadSpec(trace=str(path), skip_bad=True), 0).source
    assert "6 bad rows skipped" in source


def test_a_file_of_bad_rows_alone_is_refused(tmp_path):
    path = write(tmp_path / "t.csv", OWN, "0,0,5", "1,0,5")
    with pytest.raises(InputError, match="the trace is empty"):
        Trace(path, ReadAs(skip_bad=True)).read()


def test_rows_in_no_order_are_sorted_where_that_is_said(tmp_path):
    rng = np.random.default_rng(0)
    times = rng.permutation(500).tolist()
    path = write(tmp_path / "t.csv", OWN, *(f"{t},{t + 1},5" for t in times))
    with pytest.raises(InputError, match="expected ascending times"):
        Trace(path).read()
    trace = Trace(path, ReadAs(sort=True))
    found = trace.read()[0]
    assert found.arrival_s.tolist() == list(range(500))
    assert found.prompt_tokens.tolist() == list(range(1, 501))
    assert trace.said[0].endswith("rows put in order of arrival")


def test_coarse_stamps_are_said_and_spread_where_that_is_wanted(tmp_path):
    times = np.sort(np.random.default_rng(0).integers(0, 40, 300)).astype(float)
    path = write(tmp_path / "t.csv", OWN, *(f"{t:g},10,5" for t in times))
    plain = build(WorkloadSpec(trace=str(path)), 0)
    assert plain.arrival_s.tolist() == times.tolist()
    assert "time stamps on whole 1 s" in plain.source
    moved = build(WorkloadSpec(trace=str(path), jitter=True), 0)
    assert np.floor(moved.arrival_s).tolist() == times.tolist()
    assert len(np.unique(moved.arrival_s)) == 300
    assert "spread at random up to the next" in moved.source
    assert build(WorkloadSpec(trace=str(path), jitter=True), 0).arrival_s.tolist() == moved.arrival_s.tolist()
    assert build(WorkloadSpec(trace=str(path), jitter=True), 1).arrival_s.tolist() != moved.arrival_s.tolist()


def test_fine_stamps_are_left_alone():
    times = np.cumsum(np.random.default_rng(0).exponential(1, 300))
    assert stamps(times) is None
    assert stamps(np.arange(5.0)) is None, "too few to tell"
    steps = np.repeat(np.arange(30) * 3.053, 10)
    found = stamps(steps)
    assert found is not None
    assert (found.step_s, found.on_grid) == (pytest.approx(3.053), False)
    moved = spread(steps, found, np.random.default_rng(0))
    assert (np.diff(moved) > 0).all()
    assert np.floor(moved / 3.053 + 1e-9).tolist() == np.rint(steps / 3.053).tolist()


def test_requests_may_stand_inside_a_document(tmp_path):
    path = tmp_path / "t.json"
    rows = [dict(zip(OWN.split(","), (i, 10 + i, 5), strict=True)) for i in range(3)]
    path.write_text(json.dumps({"about": "a test", "requests": rows}, indent=1))
    assert three(path) == [[0, 1, 2], [10, 11, 12], [5, 5, 5]]
    rows[1]["output_tokens"] = 0
    path.write_text(json.dumps({"about": "a test", "requests": rows}))
    with pytest.raises(InputError, match=r"t\.json: entry 2: output_tokens is 0"):
        three(path)
    path.write_text(json.dumps({"about": "a test", "n": 3}))
    with pytest.raises(
        InputError, match="'about', 'n' found in its first entry; expected a trace in one of the"
    ):
        three(path)


def test_a_long_document_is_read_entry_by_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 64)
    rows = [
        {
            "created": 1_795_000_000 + i,
            "note": "x" * (7 * i),
            "usage": {"input_tokens": i + 1, "output_tokens": 2},
        }
        for i in range(60)
    ]
    for indent in (None, 2):
        path = tmp_path / "t.json"
        path.write_text(json.dumps(rows, indent=indent))
        assert three(path) == [list(range(60)), list(range(1, 61)), [2] * 60]
    path.write_text(json.dumps(rows)[:-20])
    with pytest.raises(InputError, match="entry 60: not valid JSON; expected an array of objects"):
        three(path)


def test_a_format_and_columns_are_one_too_many(tmp_path):
    path = write(tmp_path / "t.csv", OWN, "0,1,1")
    with pytest.raises(InputError, match="given together with"):
        three(path, format="servesim", columns="prompt=a,output=b")


def test_columns_of_mooncake_may_be_a_csv(tmp_path):
    path = write(
        tmp_path / "t.csv",
        "timestamp,input_length,output_length,hash_ids",
        '0,100,10,"[1]"',
        '1500,600,20,"[1, 2]"',
    )
    assert three(path) == [[0.0, 1.5], [100, 600], [10, 20]]
    assert Trace(path).read()[0].hash_ids.streams.tolist() == [1, 1, 2]


def test_a_log_may_begin_with_a_request_that_failed(tmp_path):
    path = write(
        tmp_path / "t.jsonl",
        '{"created_at": "2025-01-01T00:00:00Z", "usage": null}',
        '{"created_at": "2025-01-01T00:00:01Z", "usage": {"prompt_tokens": 5, "completion_tokens": 3}}',
    )
    with pytest.raises(InputError, match="line 1: prompt_tokens is empty; expected a whole number"):
        three(path)
    assert three(path, skip_bad=True) == [[0.0], [5], [3]]
