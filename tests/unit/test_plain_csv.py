"""CSV files that are read by the block: the same rows and sentences as row by row, in a fraction of the time."""

import csv
import gzip
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, arrow_tables, recognise
from simulator.workload.plain_csv import PlainCsv
from simulator.workload.reader import Trace, read_lengths
from simulator.workload.recognise import ReadAs

HEADERS = {
    "azure": ("TIMESTAMP,ContextTokens,GeneratedTokens", {}),
    "log": ("created_at,input_tokens,output_tokens", {}),
    "log in ms": ("created_ms,input_tokens,output_tokens", {}),
    "columns": ("ts,in,out", {"columns": "arrival=ts,prompt=in,output=out"}),
    "columns iso": ("ts,in,out", {"columns": "arrival=ts:iso,prompt=in,output=out"}),
    "columns us": ("ts,in,out", {"columns": "arrival=ts:us,prompt=in,output=out"}),
}
DAY = "2024-05-12"
DATES = [
    f"{DAY} 00:00:01",
    f"{DAY} 00:00:01.5000000",
    f"{DAY}T00:00:02.000000001",
    DAY,
    "1971-01-01 00:00:00",
    "",
]
ZONED = [f"{DAY} 00:00:01+00:00", f"{DAY}T03:00:02.25+02:00", f"{DAY} 00:00:09Z", f"{DAY} 00:00:09.123456"]
NUMBERS = [
    "1715472001",
    "1715472001000",
    "1715472001000250",
    "1715472002.5",
    "12",
    "12.5",
    "99999999.5",
    "-3",
    "nan",
]
TOKENS = ["1", "20", "3.0", "4.5", " 5", "", "x", "1e3", "0", "inf", "9007199254740993", "1_0"]


def outcome(path, large, how, monkeypatch):
    monkeypatch.setattr(recognise, "is_large", lambda _: large)
    try:
        trace = Trace(path, ReadAs(**how))
        found, _ = trace.read()
    except InputError as error:
        return str(error)
    assert isinstance(trace._table, PlainCsv) == large
    return (
        found.arrival_s.tolist(),
        found.prompt_tokens.tolist(),
        found.output_tokens.tolist(),
        trace.said,
        trace.rows,
    )


def line_of(problem):
    return int(re.search(r"line (\d+):", problem)[1])


def write(path, header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *rows])
    path.write_text(text.getvalue())


@pytest.mark.parametrize("kind", HEADERS)
@given(data=st.data())
def test_a_block_at_a_time_reads_the_same_as_row_by_row(kind, data, tmp_path_factory):
    header, how = HEADERS[kind]
    family = data.draw(
        st.sampled_from([DATES, ZONED, NUMBERS[:1], NUMBERS[1:2], NUMBERS[4:7], DATES + ZONED + NUMBERS])
    )
    tokens = data.draw(st.sampled_from([TOKENS[:3], TOKENS]))
    cells = st.tuples(st.sampled_from(family), st.sampled_from(tokens), st.sampled_from(tokens[:3]))
    rows = data.draw(st.lists(cells, min_size=1, max_size=12))
    if data.draw(st.booleans()):
        rows = sorted(rows)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write(path, header, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_tables, "_BLOCK_BYTES", data.draw(st.sampled_from([80, 200, 2**20])))
        found, expected = (outcome(path, large, how, patch) for large in (True, False))
    if isinstance(expected, str) and found != expected:  # of two faults, that of the earlier line
        assert line_of(found) < line_of(expected)
    else:
        assert found == expected


def rising(n):
    return [
        (f"{DAY} {i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}.25", i % 90 + 1, i % 7 + 1) for i in range(n)
    ]


@pytest.mark.parametrize("change", [None, "odd date", "bad count", "short row", "empty", "back in time"])
@pytest.mark.parametrize("kind", ["azure", "log", "columns"])
def test_what_is_not_plain_is_read_or_told_with_its_line(kind, change, tmp_path, monkeypatch):
    header, how = HEADERS[kind]
    monkeypatch.setattr(arrow_tables, "_BLOCK_BYTES", 2**16)
    rows: list[tuple] = rising(6_000)
    at = 5_000
    when, prompt, output = rows[at]
    rows[at] = {
        None: rows[at], "odd date": (when.replace(".25", ",25"), prompt, output), "bad count": (when, "many", output),
        "short row": (when, prompt), "empty": ("", prompt, output), "back in time": (f"{DAY} 00:00:07", prompt, output),
    }[change]  # fmt: skip
    path = tmp_path / "t.csv"
    write(path, header, rows)
    found = outcome(path, True, how, monkeypatch)
    assert found == outcome(path, False, how, monkeypatch)
    refused = change not in (None, "odd date") and not (change == "back in time" and kind == "log")
    assert isinstance(found, str) == refused
    if refused:
        assert f"line {at + 2}: " in found
    else:
        assert len(found[0]) == 6_000


def test_other_separators_and_gzipped_text_are_read_so_too(tmp_path, monkeypatch):
    header, how = HEADERS["azure"]
    path = tmp_path / "t.csv"
    write(path, header, rising(50))
    expected = outcome(path, True, how, monkeypatch)
    for mark in (";", "\t"):
        other = tmp_path / "other.csv"
        other.write_text("\n" + path.read_text().replace(",", mark))
        assert outcome(other, True, how, monkeypatch) == expected
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert outcome(packed, True, how, monkeypatch) == expected
    prompt, output = read_lengths(packed)
    assert (prompt.tolist(), output.tolist()) == expected[1:3]


def test_reading_ends_with_the_limit(tmp_path, monkeypatch):
    header, _ = HEADERS["azure"]
    path = tmp_path / "t.csv"
    write(path, header, [*rising(60_000), ("nonsense", "x", "y")])
    monkeypatch.setattr(recognise, "is_large", lambda _: True)
    found, _ = Trace(path).read(WorkloadSpec(trace=str(path), limit=100))
    assert len(found) == 100
    assert np.diff(found.arrival_s).tolist() == [1.0] * 99
