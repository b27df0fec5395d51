"""``servesim sweep``: what a study file means; nothing done is lost or done twice; a failure stays alone."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.studies import study_file
from simulator.studies.sweep import sweep
from simulator.studies.sweep.sweep import Study
from simulator.studies.workers import Workers

STUDY = """
replications = 2
[set]
"workload.limit" = 25
"cluster.replicas" = 1
[axes]
"policy.scheduling" = ["vllm_v1", "orca"]
"workload.rate_rps" = { from = 4.0, to = 16.0, steps = 3, scale = "log" }
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def test_axes_are_crossed_and_replications_differ_in_the_seed(study):
    points = Study.from_toml(study).points()
    assert len(points) == 2 * 3 * 2
    assert sorted({point.values["workload.rate_rps"] for point in points}) == [4.0, 8.0, 16.0]
    assert [point.seed for point in points[:2]] == [0, 1]
    assert points[0].scenario.workload.limit == 25
    assert len({point.digest for point in points}) == 12


def test_paired_keys_go_together(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        'axes = { seed = [1, 2] }\n[[paired]]\n"hardware.gpu" = ["h100-80gb-sxm", "a100-80gb-sxm"]\n'
        '"engine.max_num_seqs" = [64, 32]\n'
    )
    found = [
        (point.scenario.hardware.gpu, point.scenario.engine.max_num_seqs)
        for point in Study.from_toml(path).points()
    ]
    assert found == [("h100-80gb-sxm", 64), ("a100-80gb-sxm", 32)] * 2


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ('"cluster.replicas" = [1, 2, 1]', "cluster.replicas = 1: the same simulation twice"),
        ('"workload.rate_rps" = [2, 2.0]', "workload.rate_rps = 2 and workload.rate_rps = 2.0: the same"),
        ('"policy.routing" = ["p2c", { name = "p2c" }]', 'and policy.routing = { name = "p2c" }: the same'),
    ],
)
def test_equal_points_are_refused_as_they_would_count_as_replications(tmp_path, axes, said):
    path = tmp_path / "study.toml"
    path.write_text(f'[set]\n"workload.limit" = 5\n[axes]\n{axes.replace("p2c", "power_of_two")}\n')
    with pytest.raises(InputError, match=re.escape(said.replace("p2c", "power_of_two"))):
        sweep.run_study(Study.from_toml(path), tmp_path / "out", Workers(), lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_a_seed_axis_beside_replications_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("replications = 2\naxes = { seed = [1, 2] }\n")
    with pytest.raises(InputError, match="seed is an axis beside replications = 2"):
        Study.from_toml(path)


def test_ranges():
    where = Path("s"), "axes.k"
    assert study_file.values(*where, {"from": 1, "to": 9, "steps": 3}) == [1, 5, 9]
    assert study_file.values(*where, {"from": 0.5, "to": 2.0, "steps": 3, "scale": "log"}) == [0.5, 1.0, 2.0]
    assert study_file.values(*where, {"from": 1, "to": 3, "steps": 9}) == [
        1,
        2,
        3,
    ]  # whole numbers, each once


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[axes]\n", "axes: missing"),
        ("axis = 3", "axis: unknown key"),
        ("axes = 3", "axes: expected a table"),
        ("[axes]\nseed = 3", "axes.seed: expected a list"),
        ("[axes]\nseed = []", "axes.seed: expected a list"),
        ("[axes]\nseed = {from = 1, to = 2}", "axes.seed: expected a range"),
        ('[axes]\nseed = {from = 0, to = 2, steps = 3, scale = "log"}', "axes.seed: expected a range"),
        ("replications = 0\n[axes]\nseed = [1]", "replications: expected a whole number"),
        ("base = 3\n[axes]\nseed = [1]", "base: expected the path"),
        ("[axes]\nseed = [1]\n[[paired]]\nseed = [1]", "seed is an axis twice"),
        (
            '[axes]\nseed = [1]\n[[paired]]\n"engine.block_size" = [1]\n"engine.max_num_seqs" = [1, 2]',
            "as many values",
        ),
        ("[axes]\nseed = [1", "not a readable TOML file"),
        ('[axes]\n"workload.rate" = [1]', "workload.rate: unknown key"),
        ("[axes]\nseed = {from = 1, to = 2000000, steps = 2000000}", "steps from 2 to 100,000"),
    ],
)
def test_a_wrong_study_is_refused_in_a_sentence(tmp_path, capsys, text, says):
    path = tmp_path / "study.toml"
    path.write_text(text)
    assert cli.main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_a_study_leaves_a_row_a_point_and_pictures(study, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 0
    table = pq.read_table(out / "sweep.parquet")
    assert table.num_rows == 12
    assert set(table["policy.scheduling"].to_pylist()) == {"vllm_v1", "orca"}
    goodput = table["smooth_goodput.smooth_goodput_tokens_per_s"].to_pylist()
    assert all(value is not None and value > 0 for value in goodput)
    assert (out / "sweep.png").stat().st_size > 5000
    printed = capsys.readouterr().out
    names, units, *rows, _, note, user_model, engine = printed.splitlines()
    assert names.split()[:2] == ["policy.scheduling", "workload.rate_rps"]
    assert engine == "engine: vllm-0.24"
    assert user_model == "user model: reader_20tps"
    assert set(table["engine"].to_pylist()) == {"vllm-0.24"}
    assert set(table["user_model"].to_pylist()) == {"reader_20tps"}
    assert units.split()[:3] == ["tokens/s", "output", "tokens/s"]
    assert len(rows) == 6
    assert not any("±" in row or "[" in row for row in rows)  # a trace: the seeds change nothing
    assert "one trace, no spread" in note


def test_nothing_is_computed_twice(study, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 0
    monkeypatch.setattr(sweep, "measure", lambda point: pytest.fail("computed again"))
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 0
    study.write_text(STUDY.replace("steps = 3", "steps = 5"))
    asked = []
    monkeypatch.setattr(sweep, "measure", lambda point: asked.append(point) or {"error": "not asked for"})
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 0
    assert len(asked) == 2 * 2 * 2  # the two new rates only


def test_a_trace_that_changes_is_simulated_again(tmp_path):
    trace = tmp_path / "mine.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,5,5\n")
    path = tmp_path / "study.toml"
    path.write_text(f'[set]\n"workload.trace" = "{trace}"\n[axes]\nseed = [1]\n')
    before = Study.from_toml(path).points()[0].digest
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,5,6\n")
    os.utime(trace, ns=(1, 1))
    assert Study.from_toml(path).points()[0].digest != before


def test_a_failing_point_is_recorded_and_the_rest_goes_on(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text('[set]\n"workload.limit" = 20\n[axes]\n"engine.max_model_len" = [100, 131072]\n')
    out = tmp_path / "out"
    assert cli.main(["sweep", str(path), "--out", str(out), "--jobs", "1"]) == 0
    table = pq.read_table(out / "sweep.parquet")
    errors = table["error"].to_pylist()
    assert "max_model_len = 100" in errors[0]
    assert errors[1] is None
    assert "1 of 2 points failed" in capsys.readouterr().err


def test_a_full_disk_keeps_what_is_done(study, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    real, written = Path.write_text, []

    def full(path, *arguments, **options):
        if path.suffix == ".json" and len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(list((out / "points").glob("*.json"))) == 5
    assert not list((out / "points").glob(".*"))
    assert cli.main(["sweep", str(study), "--out", str(out), "--jobs", "1"]) == 0
    assert len(list((out / "points").glob("*.json"))) == 12


def test_killed_half_way_it_goes_on_without_a_point_lost_or_repeated(study, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "sweep",
        str(study),
        "--out",
        str(out),
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(600):
        time.sleep(0.05)
        if process.poll() is not None or len(list((out / "points").glob("[!.]*.json"))) >= 3:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (out / "points").glob("[!.]*.json")}
    assert len(done) >= 3
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "points").glob("[!.]*.json")}
    assert len(after) == 12
    assert all(after[path] == when for path, when in done.items())
    assert all(isinstance(json.loads(path.read_text()), dict) for path in after)


def test_jobs_and_ray_exclude_each_other(study, capsys):
    assert cli.main(["sweep", str(study), "--jobs", "2", "--ray", "local"]) == 2
    assert "--ray" in capsys.readouterr().err


def test_without_ray_the_flag_says_what_to_install(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["sweep", str(study), "--out", str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "pip install 'servesim[ray]'" in capsys.readouterr().err


def test_two_replications_see_different_traffic_and_two_policies_the_same(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        'replications = 2\n[set.workload]\narrivals = "poisson"\nrate_rps = 3.0\nrequests = 5\n'
        'prompt_tokens = 9\noutput_tokens = 9\n[axes]\n"policy.scheduling" = ["orca", "vllm_v1"]\n'
    )
    from simulator.workload import build

    arrivals = [
        tuple(build(p.scenario.workload, p.scenario.seed).arrival_s) for p in Study.from_toml(path).points()
    ]
    assert arrivals[0] == arrivals[2] != arrivals[1] == arrivals[3]


def test_a_study_that_is_missing(capsys):
    assert cli.main(["sweep", "nowhere.toml"]) == 2
    assert "nowhere.toml: not found" in capsys.readouterr().err


def test_ranges_are_refused_in_studies_made_in_python():
    with pytest.raises(InputError, match="at least one key"):
        Study(Path("s"), {})
