"""Traces are read batch by batch: what is wrong is placed as if all were read at once."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import csv_file
from simulator.workload.reader import read_trace
from tests.streamed_traces import KINDS, ROWS, columns, make, small_batches, with_prefixes, write  # noqa: F401

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
def test_a_bad_line_of_text_is_named_by_every_reader(tmp_path, monkeypatch, name, line, message):
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
                    [
                        read.prompt_tokens.tolist(),
                        read.output_tokens.tolist(),
                        read.carried["priority"].tolist(),
                    ]
                )
            except InputError as error:
                found.append(str(error))
    finally:
        csv_file.SMALL_BYTES = before
    assert found[0] == found[1]
