"""Files that are no files, have no end, or are nested without end: refused at once, in one sentence."""

import gzip
import os
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.input_files import DEEPEST, parse_json, parse_toml
from simulator.workload import containers, records
from tests.refusals import TRACE, folder, refusal

__all__ = ["folder"]  # the fixture, used by every test here

SYNTHETIC = [
    part
    for each in ("arrivals=poisson", "rate_rps=1.0", "requests=5", "prompt_tokens=9", "output_tokens=9")
    for part in ("--set", f"workload.{each}")
]
TAKES_A_FILE = [
    ["run", "pipe"],
    ["check", "pipe"],
    ["sweep", "pipe"],
    ["plan", "pipe"],
    ["capacity", "pipe"],
    ["inspect", "pipe"],
    ["profile", "show", "pipe.toml"],
    ["run", "--set", "workload.trace=pipe.csv"],
    ["run", "--set", "workload.trace=pipe.csv.gz"],
    ["run", "--set", "workload.trace=pipe.jsonl"],
    ["run", "--set", "workload.trace=pipe.parquet"],
    ["run", *SYNTHETIC, "--set", "workload.load=pipe.csv"],
    ["run", *SYNTHETIC[:-4], "--set", "workload.lengths=pipe.csv"],
    ["run", "--set", "hardware.gpu=./pipe.toml"],
    ["run", "--set", "hardware.model=pipe.json"],
    ["run", "--set", "engine.profile=./pipe.toml"],
    ["run", "--set", "cluster.link.kind=./pipe.toml"],
]
NAMES = ["pipe", *(f"pipe.{end}" for end in ("toml", "csv", "csv.gz", "jsonl", "parquet", "json"))]
# TOML, and what is wrong with it
NESTED = [
    ("x = " + "[" * 5_000, "nested too deeply"),
    ("x = " + "{a = " * 5_000, "nested too deeply"),
    ("x = " + "[{a = " * 5_000, "nested too deeply"),
    (".".join(["a"] * 20_000) + " = 1", "a key of more than 64 parts"),
    (". ".join(["a"] * 20_000) + " = 1", "a key of more than 64 parts"),
    (".".join(['"a"'] * 20_000) + " = 1", "a key of more than 64 parts"),
    (f"[{'.'.join(['a'] * 20_000)}]", "a key of more than 64 parts"),
    (f"[[{'.'.join(['a'] * 20_000)}]]", "a key of more than 64 parts"),
    (f"x = {{{'.'.join(['a'] * 20_000)} = 1}}", "a key of more than 64 parts"),
    ("seed = " + "9" * 5_000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ("seed = 0x" + "f" * 50, "seed: "),
    ("x = 2026-13-45", ""),
    ("x = 25:61:61", ""),
    ("x = '\udc80'", "not UTF-8 text"),
    ("x = \x00", "not valid TOML"),
    ("\x00" * 1_000, "not valid TOML"),
    ("x = 1\nx = 2", "not valid TOML"),
    ("[a]\n[a]", "not valid TOML"),
    ("[" * 100_000, "not valid TOML"),
    ("=" * 1_000, "not valid TOML"),
]
JSON = ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "[" + "9" * 5_000 + "]", "", "nul", '{"a": 1', "\x00"]
UNCLOSED = [
    ("0,50,5\n1,60,6,\n", 3, ","),
    ('0,50,"5\n1,60,6\n2,70,7\n', 2, ","),
    ('0,50,5\n"1,60,6\n2,70,7\n', 3, ","),
    ('0,50,5\n1,60,6\n2,70,"7', 4, ","),
    ('0,"5""0",5\n1,"60,6\n', 3, ","),
    ('"0","50","5\n', 2, ","),
    ('0;50;"5\n1;60;6\n', 2, ";"),
    ('0\t50\t5\n1\t"60\t6\n2\t70\t7\n', 3, "\t"),
]


@pytest.fixture
def pipes():
    for name in NAMES:
        os.mkfifo(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("words", TAKES_A_FILE, ids=lambda words: " ".join(words)[-40:])
@pytest.mark.usefixtures("pipes")
def test_a_pipe_is_no_file(words, capsys):
    said = refusal(capsys, *words)
    assert said.endswith("not a regular file; expected one, as a pipe or a device may have no end")
    assert "pipe" in said


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
@pytest.mark.parametrize("command", ["run", "sweep", "plan", "inspect"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
def test_a_device_is_no_file(command, device, capsys):
    assert refusal(capsys, command, device).startswith(f"{device}: not a regular file")


@pytest.mark.parametrize(("text", "sentence"), NESTED, ids=lambda value: value[:24].encode("unicode_escape"))
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_toml_of_any_depth_and_length(command, text, sentence, capsys):
    Path("deep.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    said = refusal(capsys, command, "deep.toml")
    assert said.startswith("deep.toml: ")
    if command == "run":
        assert sentence in said


@pytest.mark.parametrize(
    "given",
    ["x=" + "[" * 5_000, "x=" + "{a=" * 5_000, "seed=" + "9" * 5_000, ".".join(["a"] * 20_000) + "=1"],
    ids=["lists", "tables", "digits", "parts"],
)
def test_what_is_set_has_bounds_too(given, capsys):
    assert refusal(capsys, "run", "--set", given).startswith("--set ")


def test_a_key_may_have_some_parts():
    assert parse_toml(".".join(["a"] * DEEPEST) + " = 1")["a"]["a"]
    assert parse_toml(f"x = [{', '.join(['1.5'] * 1_000)}]")["x"][-1] == 1.5


@pytest.mark.parametrize("text", JSON, ids=lambda text: text[:12].encode("unicode_escape"))
def test_json_of_any_depth_and_length(text, capsys):
    with pytest.raises(ValueError, match=r"nested too deeply|limit|Expecting|Invalid") as caught:
        parse_json(text)
    assert "sys." not in str(caught.value)
    Path("config.json").write_text(text)
    assert "config.json" in refusal(capsys, "run", "--set", "hardware.model=config.json")
    Path("t.jsonl").write_text(text)
    assert "t.jsonl" in refusal(capsys, "run", "--set", "workload.trace=t.jsonl")


@pytest.mark.parametrize(("rows", "line", "mark"), UNCLOSED)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_quote_that_is_not_closed_is_named_with_its_line(rows, line, mark, ending, capsys):
    data = (TRACE.replace(",", mark) + rows).encode()
    Path(f"q.{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    said = refusal(capsys, "run", "--set", f"workload.trace=q.{ending}")
    if '"' in rows:
        assert said == (
            f"q.{ending}: line {line}: a quote opens that is not closed; expected another one behind the value"
        )
    else:
        assert f"line {line}: 4 values found; expected 3" in said


@pytest.mark.parametrize("bad", [500, 29_000, 59_999])
def test_so_is_one_in_a_large_file(bad, capsys):
    rows = [f"{row},50,5,tenant" for row in range(60_000)]
    rows[bad] = f'{bad},50,5,"tenant'
    Path("large.csv").write_text("arrival_s,prompt_tokens,output_tokens,tenant\n" + "\n".join(rows) + "\n")
    assert refusal(capsys, "run", "--set", "workload.trace=large.csv") == (
        f"large.csv: line {bad + 2}: a quote opens that is not closed; expected another one behind the value"
    )


def test_quotes_that_are_closed_are_read(capsys):
    Path("q.csv").write_text(TRACE.strip() + ',tenant\n0,50,5,"a\nb"\n1,"60",6,c"d\n"2",70,7,"e""f"\n')
    from simulator.workload.reader import Trace

    columns, _ = Trace(Path("q.csv")).read()
    assert columns.prompt_tokens.tolist() == [50, 60, 70]


@pytest.mark.parametrize("name", ["b.csv.gz", "b.jsonl.gz", "b.json.gz", "b.csv", "b.jsonl"])
def test_a_line_has_an_end(name, capsys, monkeypatch):
    monkeypatch.setattr(containers, "LONGEST_LINE", 10_000)
    monkeypatch.setattr(records, "_LONGEST_ENTRY", 10_000)
    monkeypatch.setattr("simulator.workload.csv_file.SMALL_BYTES", 1_000)
    data = b'{"a": "' * (".json." in name) + b"a" * 1_000_000
    Path(name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert refusal(capsys, "run", "--set", f"workload.trace={name}") == (
        f"{name}: a line of more than 10,000 characters found; expected shorter ones"
    )


def test_an_array_on_one_line_may_be_long(monkeypatch):
    monkeypatch.setattr(containers, "LONGEST_LINE", 1_000)
    entry = '{"arrival_s": 1, "prompt_tokens": 5, "output_tokens": 5}'
    Path("a.json").write_text(f"[{', '.join([entry] * 500)}]")
    from simulator.workload.reader import Trace

    columns, _ = Trace(Path("a.json")).read()
    assert len(columns) == 500


def test_a_whole_file_has_an_end(monkeypatch):
    monkeypatch.setattr("simulator.input_files.MOST_TEXT_BYTES", 100)
    from simulator.scenario import toml

    Path("long.toml").write_text("# " + "a" * 200)
    with pytest.raises(InputError, match="202 bytes found; expected at most 100"):
        toml.read(Path("long.toml"))
