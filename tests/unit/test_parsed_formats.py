"""Trace formats that parse text by themselves: how they are told, what is read, how faults are placed."""

import gzip
import json

import pytest

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build, formats
from simulator.workload.reader import read_lengths, read_trace
from tests.streamed_traces import small_batches  # noqa: F401

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
NESTED = """
import json

from simulator.workload.formats import TraceFormat

SUFFIXES = (".jsonl",)
FORMAT = TraceFormat(
    "at", "prompt", "output", hash_ids="blocks", hash_block_tokens=4, ticks_per_s=1000, fields={"tenant": "who"}
)


def recognises(line):
    return '"usage"' in line


def parse(lines):
    for line in lines:
        if not line.startswith("#"):
            entry = json.loads(line)
            usage = entry["usage"]
            yield {"at": entry["ms"], "prompt": usage["in"], "output": usage["out"], "who": entry.get("key")} | (
                {"blocks": entry["blocks"]} if "blocks" in entry else {}
            )
"""


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def three(path):
    found = read_trace(path)
    return [each.tolist() for each in (found.arrival_s, found.prompt_tokens, found.output_tokens)]


def refused(path):
    with pytest.raises(InputError) as caught:
        read_trace(path)
    return str(caught.value)


@pytest.fixture
def nested(tmp_path, monkeypatch):
    (tmp_path / "nested.py").write_text(NESTED)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    return tmp_path / "t.jsonl"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_azure_as_published(tmp_path, name):
    rows = "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n\r\n"
    path = write(tmp_path / name, AZURE.replace("\n", "\r\n") + rows)
    assert three(path) == [[0.0, 4.314579], [374, 396], [44, 109]]
    assert [each.tolist() for each in read_lengths(path)] == [[374, 396], [44, 109]]
    rows = "2024-05-10 23:59:59.5+00:00,1,2\n2024-05-11 00:00:00.009930+00:00,3,4\n"
    assert three(write(tmp_path / name, AZURE + rows)) == [[0.0, 0.50993], [1, 3], [2, 4]]


def test_it_is_read_as_far_as_it_is_wanted(tmp_path):
    rows = [f"2024-05-10 00:{i // 60:02}:{i % 60:02},{i + 1},2" for i in range(1000)]
    rows[500] = "broken"
    path = write(tmp_path / "t.csv", AZURE + "\n".join(rows))
    assert len(build(WorkloadSpec(trace=str(path), limit=300), 0)) == 300
    assert build(WorkloadSpec(trace=str(path), end_s=100.0), 0).prompt_tokens[-1] == 100
    with pytest.raises(InputError, match="line 502: 1 values found; expected 3"):
        build(WorkloadSpec(trace=str(path)), 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["yesterday,1,2"], "line 2: TIMESTAMP is 'yesterday'; expected a time such as"),
        (
            ["2024-05-10 00:00:00,1,2", "2024-05-10 00:00:01,1.5,2"],
            "line 3: ContextTokens is '1.5'; expected a whole",
        ),
        (["2024-05-10 00:00:00,1,0"], "line 2: output_tokens is 0; expected a whole number of tokens >= 1"),
        (["2024-05-10 00:00:05,1,1", "", "2024-05-10 00:00:01,1,1"], "line 4: arrival_s is -4;"),
        (["2024-05-10 00:00:05,1"], "line 2: 2 values found; expected 3"),
        ([], "expected columns arrival_s/prompt_tokens/output_tokens"),
    ],
)
def test_a_fault_is_placed_on_its_line(tmp_path, rows, message):
    path = write(tmp_path / "t.csv", AZURE + "\n".join(rows))
    assert message in refused(path)
    assert str(path) in refused(path)


def test_a_format_of_ones_own_is_told_by_its_first_line(nested):
    entries = [
        {"ms": 1000 * i, "usage": {"in": 9, "out": i + 1}, "key": f"k{i % 2}", "blocks": [1, 2, i]}
        for i in range(200)
    ]
    lines = [json.dumps(each) for each in entries]
    found = read_trace(write(nested, '\n# a remark with "usage"\n'.join([lines[0], "\n".join(lines[1:])])))
    assert found.arrival_s.tolist() == list(range(200))
    assert found.output_tokens.tolist() == list(range(1, 201))
    assert found.carried["tenant"].tolist() == [0, 1] * 100
    assert found.hash_ids[:2].streams.tolist() == [1, 2, 0, 1, 2, 1]
    other = '{"arrival_s": 0, "prompt_tokens": 1, "output_tokens": 2}'
    assert three(write(nested, other)) == [[0.0], [1], [2]]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"ms": 5}', "line 4: no 'usage' found (trace format nested)"),
        ('{"ms": 5', "line 4: JSONDecodeError Expecting"),
        ('{"ms": 5, "usage": {"in": "9", "out": 1}, "key": "a"}', "line 4: prompt is '9'; expected a number"),
        ('{"ms": 5, "usage": {"in": 9, "out": 1}, "key": ""}', "line 4: who is"),
        ('{"ms": -5, "usage": {"in": 9, "out": 1}, "key": "a"}', "line 4: at / 1000 is -0.005"),
    ],
)
def test_lines_that_give_no_row_are_counted(nested, second, message):
    good = '{"ms": 0, "usage": {"in": 9, "out": 1}, "key": "a"}'
    assert message in refused(write(nested, f"{good}\n#\n#\n{second}\n"))


def test_rows_that_are_none_are_refused(tmp_path, monkeypatch):
    (tmp_path / "no_rows.py").write_text("SUFFIXES = ('.log',)\ndef parse(lines):\n    yield from lines\n")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    assert "line 1: 'a b c' made of it; expected a row like {'column': value}" in refused(
        write(tmp_path / "t.log", "a b c\n")
    )
    assert ".jsonl.gz, .log" in refused(write(tmp_path / "t.txt", "a b c\n"))
