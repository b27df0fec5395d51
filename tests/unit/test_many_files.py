"""Traces in several files: folders and patterns, sessions whose starts are not known, and which file a fault is in."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.studies.points import Point
from simulator.workload import WorkloadSpec, build
from simulator.workload.reader import Trace, read_lengths
from simulator.workload.recognise import ReadAs
from simulator.workload.survey import survey

SAMPLES = Path(__file__).parent.parent / "data" / "formats"


def weka(folder, name, requests):
    (folder / name).write_text(json.dumps({"id": "s", "block_size": 64, "requests": requests}))


def turn(at, **more):
    return {"t": at, "type": "n", "in": 130, "out": 5, "hash_ids": [1, 2], **more}


@pytest.fixture
def sessions(tmp_path):
    folder = tmp_path / "weka"
    folder.mkdir()
    weka(folder, "a.json", [turn(0.0, api_time=2.0), turn(5.0, think_time=1.5), turn(9.0)])
    weka(
        folder,
        "b.json",
        [turn(3.0, api_time=1.0), {"t": 4.0, "agent_id": "x", "requests": [turn(0.5)]}, turn(6.0)],
    )
    (folder / "README.md").write_text("not a trace")
    (folder / ".hidden.json").write_text("nor this")
    return folder


@pytest.mark.parametrize("what", ["folder", "pattern", "one file"])
def test_sessions_of_several_files_start_when_that_is_drawn(sessions, what):
    path = sessions
    if what == "pattern":
        path = sessions / "*.json"
    elif what == "one file":
        path = sessions / "both.json"
        path.write_text(f"[{(sessions / 'a.json').read_text()}, {(sessions / 'b.json').read_text()}]")
    trace = Trace(path)
    found, _ = trace.read()
    assert not trace.timed
    assert trace.format_name == "weka"
    # a request without a think time waits from the end of the answer before it
    assert [None if x != x else x for x in found.think_s.tolist()] == [None, 1.5, 4.0, None, None, 2.0]
    assert len(set(found.session.tolist())) == 3, "two sessions of one name, and an agent"
    traffic = build(WorkloadSpec(trace=str(path), rate_rps=0.01), seed=0)
    starts = traffic.arrival_s[traffic.think_s != traffic.think_s]
    assert np.diff(np.sort(starts)).min() == pytest.approx(
        1.5
    )  # the agent came 4.5 - 3.0 s after its session
    with pytest.raises(InputError, match=r"workload\.rate_rps: missing"):
        build(WorkloadSpec(trace=str(path)), seed=0)


def test_blocks_of_one_session_are_not_those_of_another(sessions):
    found, _ = Trace(sessions).read()
    first = found.hash_ids.streams[found.hash_ids.offsets[:-1]]
    assert first[0] == first[1] != first[3]


def test_one_session_alone_keeps_its_times():
    assert Trace(SAMPLES / "weka_session.json").timed


@pytest.mark.parametrize(
    ("name", "pieces"), [("mooncake_arxiv_slice_93.jsonl", 4), ("azure2023.csv", 3), ("burstgpt_v1.csv", 2)]
)
def test_a_trace_in_pieces_is_that_in_one(name, pieces, tmp_path):
    whole, _ = Trace(SAMPLES / name).read()
    lines = (SAMPLES / name).read_text().splitlines()
    header, rows = ([lines[0]], lines[1:]) if name.endswith(".csv") else ([], lines)
    for i in range(pieces):
        part = rows[i * len(rows) // pieces : (i + 1) * len(rows) // pieces]
        data = "\n".join([*header, *part]).encode()
        suffix = Path(name).suffix
        if i % 2:
            (tmp_path / f"{i}{suffix}.gz").write_bytes(gzip.compress(data))
        else:
            (tmp_path / f"{i}{suffix}").write_bytes(data)
    trace = Trace(tmp_path)
    found, _ = trace.read()
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert getattr(found, column).tolist() == getattr(whole, column).tolist()
    assert found.segments() == whole.segments()
    prompt, output = read_lengths(tmp_path)
    assert (prompt.tolist(), output.tolist()) == (whole.prompt_tokens.tolist(), whole.output_tokens.tolist())
    assert survey(tmp_path, ReadAs(), 131_072).as_dict()["requests"] == len(whole)


def test_a_fault_is_said_with_its_file(tmp_path):
    (tmp_path / "1.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,5,5\n1,6,5\n")
    (tmp_path / "2.csv").write_text("arrival_s,prompt_tokens,output_tokens\n2,5,5\n3,x,5\n4,5,5\n")
    with pytest.raises(InputError, match=r"2\.csv: line 3: prompt_tokens is 'x'; expected a number$"):
        Trace(tmp_path).read()
    trace = Trace(tmp_path, ReadAs(skip_bad=True))
    assert len(trace.read()[0]) == 4
    assert "2.csv: line 3" in trace.said[0]
    (tmp_path / "2.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.5,5,5\n")
    with pytest.raises(InputError, match=r"2\.csv: line 2: arrival_s is 0\.5 after 1\.0 just before"):
        Trace(tmp_path).read()
    (tmp_path / "2.csv").write_text("when,in\n0.5,5\n")
    with pytest.raises(InputError, match=r"2\.csv: line 2: "):
        Trace(tmp_path).read()


def test_a_folder_or_pattern_without_traces_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="no file of requests found; expected files ending in"):
        build(WorkloadSpec(trace=str(tmp_path)), 0)
    with pytest.raises(InputError, match=r"no file '.*\*\.csv' and nothing of that name"):
        build(WorkloadSpec(trace=str(tmp_path / "*.csv")), 0)


def test_a_study_runs_anew_when_a_file_of_the_folder_changes(sessions, tmp_path):
    def digest():
        return Point({}, 0, Scenario(workload={"trace": "weka", "rate_rps": 1.0}), tmp_path).digest

    before = digest()
    assert digest() == before
    shutil.copy(sessions / "a.json", sessions / "c.json")
    assert digest() != before
