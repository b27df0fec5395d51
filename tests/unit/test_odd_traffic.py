"""Traffic that is seldom described: what it becomes, or the sentence that refuses it."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build, recognise, sessions
from simulator.workload.reader import Trace, read_lengths
from simulator.workload.recognise import ReadAs

POISSON = {"arrivals": "poisson", "rate_rps": 1.0, "requests": 10}
NINE = {"prompt_tokens": 9, "output_tokens": 9}
HALF = {"share": 0.5, **NINE}
OWN = "arrival_s,prompt_tokens,output_tokens"


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"classes": {"a": HALF, "b": HALF}}, "workload.arrivals: missing; classes with shares need it"),
        ({"classes": {"a": NINE}}, "workload.classes.a: no share, trace or arrivals; expected one of them"),
        (
            {**POISSON, "classes": {"a": HALF, "b": HALF | {"v_s_per_token": 0.1, "readers_median_s": 0.2}}},
            "workload.classes.b.v_s_per_token: given together with readers_median_s; expected one of the two",
        ),
        ({"trace": None}, "workload.trace: missing; expected a trace, or workload.arrivals for synthetic traffic"),
        (
            {**POISSON, **NINE, "readers": [[1.0, 1e-20]]},
            "workload.readers: expected a V of 0 or at least 1e-09 s, got 1e-20",
        ),
    ],
)  # fmt: skip
def test_keys_that_say_too_little_or_too_much(keys, said):
    with pytest.raises(ValueError, match="workload") as error:
        WorkloadSpec(**keys)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "how", "said"),
    [
        ("t.jsonl", '{"ts": 12.5, "in": 3, "out": 4}\n', {"columns": "arrival=ts:iso,prompt=in,output=out"},
         "line 1: ts is 12.5; expected a time such as 2023-11-16 18:15:46"),
        ("t.yaml", "trace_version: 3\n", {}, "only the header of a trace; expected t.csv beside it"),
        ("t.csv.gz", gzip.compress(f"{OWN}\n0,5,\xff\n".encode("latin-1")), {}, "not UTF-8 text; expected CSV text"),
        ("t.jsonl", '{"arrival_s": 0, "prompt_tokens": 5, "output_tokens": 5}\n3\n', {},
         'line 2: 3 found; expected an object like {"column": value}'),
        ("t.csv", f"created,input_tokens,output_tokens,text\n0,5,5,{'x' * 140_000}\n", {},
         "line 2: not readable CSV: field larger than field limit (131072)"),
        ("t.csv", f'{OWN},text\n0,5,5,"{"x" * 140_000}"\n', {}, "field larger than field limit (131072)"),
    ],
    ids=["number for a date", "header alone", "bytes", "number for an object", "long text", "long text in quotes"],
)  # fmt: skip
def test_files_that_cannot_be_read(name, content, how, said, tmp_path):
    with pytest.raises(InputError) as error:
        Trace(written(tmp_path, name, content), ReadAs(**how)).read()
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert said in str(error.value)


def test_a_line_whose_text_is_too_long_may_be_skipped(tmp_path):
    text = f"created,input_tokens,output_tokens,text\n0,5,5,{'x' * 140_000}\n1,6,7,y\n"
    trace = Trace(written(tmp_path, "t.csv", text), ReadAs(skip_bad=True))
    found, _ = trace.read()
    assert found.prompt_tokens.tolist() == [6]
    assert any("line 2" in said for said in trace.said)


def test_lengths_of_which_there_are_none(tmp_path):
    with pytest.raises(InputError, match="the length table is empty; expected at least one row of numbers"):
        read_lengths(written(tmp_path, "t.csv", "prompt_tokens,output_tokens\n"))


def test_blocks_have_a_size_where_the_format_leaves_it_open(tmp_path):
    text = '{"id": "s", "block_size": 64, "requests": [{"t": 0, "in": 64, "out": 1, "hash_ids": [1]}]}'
    with pytest.raises(
        InputError, match=r"workload\.block_tokens: only for a trace whose blocks may have any"
    ):
        Trace(written(tmp_path, "t.json", text), ReadAs(format="weka", block_tokens=32))


def test_a_large_log_with_a_column_twice_is_read_row_by_row(tmp_path, monkeypatch):
    monkeypatch.setattr(recognise, "is_large", lambda _: True)
    text = "created_at,input_tokens,output_tokens,input_tokens\n10,5,6,7\n11.5,8,9,8\n"
    found, _ = Trace(written(tmp_path, "t.csv", text), ReadAs(format="request_log")).read()
    assert found.arrival_s.tolist() == [10.0, 11.5]
    assert found.output_tokens.tolist() == [6, 9]


@pytest.mark.parametrize("column", ["session_id", "model"])
def test_names_in_parquet_are_no_fractions(column, tmp_path):
    table = {"arrival_s": [0.0], "prompt_tokens": [3], "output_tokens": [4], column: [1.5]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=f"column {column} holds double; expected whole numbers or texts"):
        Trace(tmp_path / "t.parquet").read()


def test_a_column_of_nothing_names_no_model(tmp_path):
    table = {"arrival_s": [0.0, 1.0], "prompt_tokens": [3, 3], "output_tokens": [4, 4], "model": pa.nulls(2)}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    found, _ = Trace(tmp_path / "t.parquet").read()
    assert not found.model_names
    assert (found.carried["model"] == -1).all()


def test_a_model_is_said_once(tmp_path):
    path = written(tmp_path, "t.csv", f"{OWN},model\n0,5,5,x\n")
    with pytest.raises(
        InputError, match=r"workload\.classes\.a\.model: .* says this itself, in column model"
    ):
        build(WorkloadSpec(classes={"a": {"trace": str(path), "model": "y"}}), seed=0)


def test_rates_over_time_may_have_blank_lines_and_no_words(tmp_path):
    path = written(tmp_path, "rates.csv", "0,1,1,Gamma,1,1\n\n60,3,1,Gamma,1,1\n")
    spec = WorkloadSpec(**POISSON | {"requests": None, "duration_s": 120.0}, **NINE, load=str(path))
    arrival_s = build(spec, seed=0).arrival_s
    assert np.count_nonzero(arrival_s >= 60) > 2 * np.count_nonzero(arrival_s < 60)
    path.write_text("0,1,1,Gamma,1,1\nx,3,1,Gamma,1,1\n")
    with pytest.raises(
        InputError, match="line 2: 'x,3,1,Gamma,1,1' found; expected a time in s and requests/s"
    ):
        build(spec, seed=0)


def test_a_burst_may_be_of_classes():
    traffic = build(WorkloadSpec(arrivals="burst", requests=40, classes={"a": HALF, "b": HALF}), seed=0)
    assert traffic.arrival_s.tolist() == [0.0] * 40
    assert set(traffic.optional["traffic_class"].tolist()) == {0, 1}


@pytest.mark.parametrize("more", [NINE, {"classes": {"a": HALF, "b": HALF}}], ids=["one", "classes"])
def test_answers_that_are_cut_are_told_of(more):
    traffic = build(WorkloadSpec(**POISSON, **more, max_tokens=4), seed=0)
    assert traffic.output_tokens.tolist() == [4] * 10
    assert traffic.source.endswith("outputs cut at 4 tokens")


def test_turns_go_on_from_answers_that_were_cut():
    spec = WorkloadSpec(**POISSON | {"requests": 40}, **NINE, session_turns=3.0, think_s=1.0, max_tokens=4)
    traffic = build(spec, seed=0)
    session = traffic.optional["session"]
    later = np.flatnonzero(np.diff(session[np.argsort(session, kind="stable")]) == 0)
    assert len(later)
    prompts = traffic.prompt_tokens[np.argsort(session, kind="stable")]
    assert (prompts[later + 1] - prompts[later] == 9 + 4).all()


def test_sessions_may_not_have_more_turns_than_can_be_held(monkeypatch):
    monkeypatch.setattr(sessions, "MOST_REQUESTS", 20)
    keys = {"arrivals": "constant", "rate_rps": 1.0, "duration_s": 30.0, "session_turns": 3.0, "think_s": 1.0}
    with pytest.raises(InputError, match=r"workload\.session_turns: .* turns; expected at most 20"):
        build(WorkloadSpec(**keys, **NINE), seed=0)


def test_times_that_are_fine_are_not_spread(tmp_path):
    path = written(tmp_path, "t.csv", f"{OWN}\n0.123,5,5\n1.456,5,5\n")
    traffic = build(WorkloadSpec(trace=str(path), jitter=True), seed=0)
    assert traffic.source.endswith("no coarse time stamps to spread")
    assert traffic.arrival_s.tolist() == [0.123, 1.456]
