"""Trace files: every format and container reads to the same columns, every fault is placed."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build, formats
from simulator.workload.reader import read_lengths, read_trace

OWN = "arrival_s,prompt_tokens,output_tokens"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens"


def write(path: Path, text: str) -> Path:
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


def three(path: Path) -> list[list[float]]:
    trace = read_trace(path)
    assert trace.optional() == []
    return [column.tolist() for column in (trace.arrival_s, trace.prompt_tokens, trace.output_tokens)]


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_trace(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("header", [OWN, VIDUR, "arrival_s, prompt_tokens, output_tokens", "\ufeff" + OWN])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_in_every_dress_reads_the_same(tmp_path, header, name, end):
    path = write(tmp_path / name, end.join([header, "0,374,44", "4.25,396,109", "4.25,1,1.0", ""]))
    assert three(path) == [[0.0, 4.25, 4.25], [374, 396, 1], [44, 109, 1]]


def test_columns_are_found_by_name_in_any_order_among_others(tmp_path):
    path = write(tmp_path / "t.csv", "output_tokens,user,arrival_s,prompt_tokens\n7,ann,0.5,3\n")
    assert three(path) == [[0.5], [3], [7]]


def test_parquet_reads_whatever_its_number_types(tmp_path):
    table = pa.table(
        {
            "prompt_tokens": pa.array([3, 4], pa.uint16()),
            "arrival_s": pa.array([0, 2], pa.int32()),
            "output_tokens": pa.array([5.0, 6.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert three(tmp_path / "t.parquet") == [[0, 2], [3, 4], [5, 6]]


def test_a_table_of_lengths_needs_no_arrival_times(tmp_path):
    path = write(tmp_path / "t.csv", "num_prefill_tokens,num_decode_tokens,pd_ratio\n10,2,5\n")
    assert [column.tolist() for column in read_lengths(path)] == [[10], [2]]
    workload = build(WorkloadSpec(arrivals="burst", requests=3, lengths=str(path)), 0)
    assert workload.prompt_tokens.tolist() == [10, 10, 10]


def test_a_relative_path_is_beside_the_scenario_first_and_in_the_cwd_second(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    write(here / "t.csv", f"{OWN}\n0,1,1\n")
    spec = WorkloadSpec(trace="t.csv")
    assert build(spec, 0, there).prompt_tokens.tolist() == [1]
    write(there / "t.csv", f"{OWN}\n0,2,1\n")
    assert build(spec, 0, there).prompt_tokens.tolist() == [2]
    assert build(spec, 0).prompt_tokens.tolist() == [1]


def test_one_more_format_is_one_more_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from simulator.workload.formats import TraceFormat\nFORMAT = TraceFormat('when', 'isl', 'osl')\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    path = write(tmp_path / "t.csv", "when,isl,osl\n1,2,3\n")
    assert three(path) == [[1], [2], [3]]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,5,5", "2,5,5", "1.5,5,5"], "line 4: arrival_s is 1.5 after 2.0 just before"),
        (["0,5,5", "", "1,0,5"], "line 4: prompt_tokens is 0; expected a whole number of tokens >= 1"),
        (["0,5,-2"], "line 2: output_tokens is -2;"),
        (["0,5,5", "nan,5,5"], "line 3: arrival_s is nan; expected a number of seconds from 0"),
        (["0,5,5", "inf,5,5"], "line 3: arrival_s is inf"),
        (["-0.5,5,5"], "line 2: arrival_s is -0.5"),
        (["0,5,5", "1,x7,5"], "line 3: prompt_tokens is 'x7'; expected a number"),
        (["0,5,5", "1,,5"], "line 3: prompt_tokens is empty; expected a number"),
        (["0,5,5", "1,5"], "line 3: 2 values found; expected 3"),
        (["0,5,5", "1,5.5,5"], "line 3: prompt_tokens is 5.5; expected a whole number"),
        ([], "the trace is empty; expected at least one row"),
    ],
)
def test_a_fault_in_a_csv_is_placed_on_its_line(tmp_path, name, rows, message):
    assert message in refused(write(tmp_path / name, "\n".join([OWN, *rows, ""])))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"arrival_s": [0.0, 2.0, 1.0]}, "row 3: arrival_s is 1.0 after 2.0"),
        ({"output_tokens": [1, 0, 1]}, "row 2: output_tokens is 0"),
        ({"prompt_tokens": [1, None, 1]}, "row 2: prompt_tokens is empty"),
        ({"prompt_tokens": ["a", "b", "c"]}, "column prompt_tokens holds string; expected numbers"),
        ({"arrival_s": [], "prompt_tokens": [], "output_tokens": []}, "empty"),
    ],
)
def test_a_fault_in_a_parquet_file_is_placed_on_its_row(tmp_path, columns, message):
    good = {"arrival_s": [0.0, 1.0, 2.0], "prompt_tokens": [1, 1, 1], "output_tokens": [1, 1, 1]}
    table = pa.table({**good, **columns})
    if not columns.get("arrival_s", True):
        table = table.cast(pa.schema([(name, pa.float64()) for name in table.column_names]))
    pq.write_table(table, tmp_path / "t.parquet")
    assert message in refused(tmp_path / "t.parquet")


def test_missing_columns_say_what_was_found_and_what_is_read(tmp_path):
    message = refused(write(tmp_path / "t.csv", "time,prompt_tokens,tokens\n1,2,3\n"))
    assert "columns 'time', 'prompt_tokens', 'tokens' found" in message
    assert OWN.replace(",", "/") in message
    assert VIDUR.replace(",", "/") in message


def test_files_that_are_not_what_they_say_are_refused(tmp_path):
    good = tmp_path / "good.parquet"
    rows = np.arange(1, 1000)
    pq.write_table(pa.table({"arrival_s": rows, "prompt_tokens": rows, "output_tokens": rows}), good)
    damaged = tmp_path / "t.parquet"
    damaged.write_bytes(good.read_bytes()[:-200])
    assert "not a readable Parquet file" in refused(damaged)
    cut = tmp_path / "t.csv.gz"
    cut.write_bytes(gzip.compress((OWN + "\n" + "0,5,5\n" * 5000).encode())[:-20])
    assert "not a readable gzipped CSV file" in refused(cut)
    plain = tmp_path / "u.csv.gz"
    plain.write_text(f"{OWN}\n0,5,5\n")
    assert "not a readable gzipped CSV file" in refused(plain)
    binary = tmp_path / "v.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81" * 50)
    assert "not UTF-8 text but UTF-16" in refused(binary)
    nothing = tmp_path / "w.csv"
    nothing.touch()
    assert "the file is empty" in refused(nothing)


def test_a_name_must_say_the_type_and_be_a_file(tmp_path):
    assert "expected a name ending in .parquet, .csv, .csv.gz" in refused(write(tmp_path / "t.dat", "a b"))
    assert "nothing found in its first entry; expected a trace in one of" in refused(
        write(tmp_path / "t.json", "{}")
    )
    with pytest.raises(InputError, match="is a folder; expected a file"):
        build(WorkloadSpec(arrivals="poisson", load=str(tmp_path), requests=3, lengths="chat_azure2023"), 0)


def test_reading_does_not_import_pandas(tmp_path):
    # pyarrow's conversions to numpy would, which costs more than the rest of a small run
    path = write(tmp_path / "t.csv.gz", f"{OWN}\n0,5,5\n")
    program = (
        "import sys; from simulator.workload import WorkloadSpec, build;"
        f"build(WorkloadSpec(), 0); build(WorkloadSpec(trace={str(path)!r}), 0);"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
