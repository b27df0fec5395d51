"""Traces and saved results that are not what they should be: the sentence names file, line and column."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from tests.refusals import GOOD, TRACE, folder, refusal
from tests.saved_faults import unseal

__all__ = ["folder"]  # the fixture, used by every test here


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "t.csv: the trace is empty"),
        ("0,5,5\n3,5,5\n2,5,5\n", "t.csv: line 4: arrival_s is 2.0 after 3.0"),
        ("0,5,5\n1,0,5\n", "t.csv: line 3: prompt_tokens is 0; expected a whole number of tokens >= 1"),
        ("0,5,5\nnan,5,5\n", "t.csv: line 3: arrival_s is nan"),
        ("0,5,5\n1,5\n", "t.csv: line 3: 2 values found; expected 3"),
        ("0,5,5\n1,,5\n", "t.csv: line 3: prompt_tokens is empty; expected a number"),
        ("0,1_000,5\n", "t.csv: line 2: prompt_tokens is '1_000'; expected a number"),
        (
            "0,5,1e23\n",
            "t.csv: line 2: output_tokens is 1e+23; expected a whole number of tokens >= 1 and <=",
        ),
        ("0,5,5\n1e400,5,5\n", "t.csv: line 3: arrival_s is inf; expected a number of seconds from 0"),
        ("0,5,5\n1e17,5,5\n", "t.csv: line 3: arrival_s is 1e+17; expected a number of seconds from 0"),
        ("0,5,5\n1,five,5\n", "t.csv: line 3: prompt_tokens is 'five'; expected a number"),
    ],
)
def test_a_wrong_trace_is_placed(capsys, rows, message):
    Path("t.csv").write_text(TRACE + rows)
    assert message in refusal(capsys, "run", "s.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv: the file is empty; expected columns arrival_s/prompt_tokens/output_tokens"),
        (TRACE.replace(",", ";").encode() + b"0;5;5\n", "separated by commas"),
        (TRACE.encode("utf-16"), "t.csv: not UTF-8 text but UTF-16"),
        (
            gzip.compress(TRACE.encode(), mtime=0),
            "not UTF-8 text but gzipped (its name should end in .csv.gz)",
        ),
        (TRACE.replace("\n", ",n\n").encode() + b"0,5,5,caf\xe9\n", "t.csv: not UTF-8 text (line 2)"),
        (TRACE.replace("\n", ",prompt_tokens\n").encode() + b"0,5,5,7\n", "prompt_tokens is there 2 times"),
    ],
)
def test_a_file_that_is_no_trace_says_what_it_is(capsys, content, message):
    Path("t.csv").write_bytes(content)
    assert message in refusal(capsys, "run", "s.toml")


def test_columns_that_are_there_twice_in_a_parquet_are_refused(capsys):
    names = ["arrival_s", "prompt_tokens", "output_tokens", "prompt_tokens"]
    pq.write_table(pa.table([pa.array([1])] * 4, names=names), "t.parquet")
    assert "prompt_tokens is there 2 times" in refusal(capsys, "run", "--set", "workload.trace=t.parquet")


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_files_from_windows_are_read(capsys, mark):
    Path("t.csv").write_bytes(mark + TRACE.replace("\n", "\r\n").encode() + b"0,5,5\r\n")
    Path("s.toml").write_bytes(mark + GOOD.replace("\n", "\r\n").encode())
    assert cli.main(["run", "s.toml", "--no-plot"]) == 0
    capsys.readouterr()


def test_a_corrupt_parquet_is_named(capsys):
    Path("t.parquet").write_bytes(b"PAR1 and then nothing of use")
    text = refusal(capsys, "run", "--set", "workload.trace=t.parquet")
    assert text.startswith("t.parquet: not a readable Parquet file")


def test_a_missing_trace_suggests_a_shipped_one(capsys):
    text = refusal(capsys, "run", "--set", "workload.trace=azure2023-conv")
    assert text.startswith("workload.trace: no file 'azure2023-conv'")
    assert "did you mean the shipped 'azure2023_conv'?" in text


def test_a_prompt_beyond_max_model_len_is_named(capsys):
    text = refusal(capsys, "run", "s.toml", "--set", "engine.max_model_len=60")
    assert "request 1 has a prompt of 60 tokens" in text
    assert "expected fewer than max_model_len = 60" in text


def test_a_prompt_beyond_the_kv_cache_is_named(capsys):
    text = refusal(capsys, "run", "s.toml", "--set", "engine.num_gpu_blocks=4")
    assert "request 0 has a prompt of 50 tokens" in text
    assert "KV cache holds" in text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "manifest.json",
            b"{}",
            "o/manifest.json: expected the manifest of a saved result, which has scenario",
        ),
        ("manifest.json", b"[]", "o/manifest.json: expected the manifest"),
        ("manifest.json", b"{", "o/manifest.json: not a readable JSON file"),
    ],
)
def test_a_damaged_manifest_is_named(capsys, file, content, message):
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    capsys.readouterr()
    Path("o", file).write_bytes(content)
    assert message in refusal(capsys, "show", "o")


def test_tables_that_do_not_belong_together_are_named(capsys):
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    capsys.readouterr()
    unseal(Path("o"))
    tokens = pq.read_table("o/tokens.parquet")
    pq.write_table(tokens.slice(0, 3), "o/tokens.parquet")
    assert "tokens.parquet: 3 tokens found; expected the 11 that" in refusal(capsys, "show", "o")
    pq.write_table(tokens, "o/requests.parquet")
    assert "o/requests.parquet: no column arrival_s" in refusal(capsys, "show", "o")


def test_a_flipped_byte_in_the_records_is_found(capsys):
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    capsys.readouterr()
    data = bytearray(Path("o/tokens.parquet").read_bytes())
    data[40] ^= 0xFF
    Path("o/tokens.parquet").write_bytes(data)
    assert "o/tokens.parquet: not a readable parquet file" in refusal(capsys, "show", "o")


def test_a_damaged_result_is_named(capsys):
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    capsys.readouterr()
    Path("o/tokens.parquet").write_bytes(b"no")
    assert refusal(capsys, "show", "o").startswith("o/tokens.parquet: not a readable parquet file")
