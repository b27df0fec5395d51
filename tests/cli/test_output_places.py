"""Where commands write: one root for folders, stdout for answers, nothing but errors and the path with --quiet."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli import main as cli
from simulator.cli.app import build, commands
from simulator.cli.terminal import counting, progress

SMALL = ("--set", "workload.limit=20", "--no-plot")
STUDY = '[set]\n"workload.limit" = 20\n[axes]\n"workload.rate_scale" = [1.0, 2.0]\n'
TARGET = "latency.ttft_s.p99<=2"


def call(*words):
    return cli.main([str(word) for word in words])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERVESIM_RUNS", raising=False)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "plan.toml").write_text(
        f'target = ["{TARGET}"]\n[set]\n"workload.limit" = 20\n[space]\ngpu = ["l4"]\nreplicas = [1]\n'
    )
    return tmp_path


def test_every_command_writes_below_one_root_and_all_are_listed(here, capsys):
    assert call("run", *SMALL) == 0
    assert call("run", *SMALL) == 0
    assert call("sweep", "study.toml", "--jobs", 1) == 0
    assert (
        call("capacity", "--set", "workload.limit=20", "--target", TARGET, "--jobs", 1, "--within", 0.5) == 0
    )
    assert {path.name for path in here.iterdir() if path.is_dir()} == {"runs"}
    assert {path.name for path in Path("runs").iterdir()} == {
        "azure2023-conv-1", "azure2023-conv-2", "study", "capacity-azure2023-conv",
    }  # fmt: skip
    capsys.readouterr()
    assert call("list", "runs") == 0
    listed = capsys.readouterr().out
    assert "runs/azure2023-conv-2" in listed
    assert "sweep" in listed
    assert "2 points" in listed
    assert f"for {TARGET}" in listed
    before = {path: path.stat().st_mtime_ns for path in Path("runs/study/points").iterdir()}
    assert call("sweep", "study.toml", "--jobs", 1) == 0  # goes on in the same folder
    assert {path: path.stat().st_mtime_ns for path in Path("runs/study/points").iterdir()} == before


def test_the_root_is_an_option_or_a_variable(here, monkeypatch):
    assert call("--runs", "mine", "run", *SMALL) == 0
    assert "SERVESIM_RUNS" not in os.environ
    monkeypatch.setenv("SERVESIM_RUNS", "theirs")
    assert call("run", *SMALL) == 0
    assert call("--runs", "ours", "sweep", "study.toml", "--jobs", 1) == 0
    assert os.environ["SERVESIM_RUNS"] == "theirs"
    assert sorted(path.name for path in here.iterdir() if path.is_dir()) == ["mine", "ours", "theirs"]
    assert Path("ours/study/sweep.csv").exists()


def test_an_old_folder_is_read_when_it_is_named(here, capsys):
    assert call("run", *SMALL, "--out", "results/old") == 0
    capsys.readouterr()
    assert call("show", "results/old") == 0
    assert call("list", "runs", "results") == 0
    assert "results/old" in capsys.readouterr().out
    assert call("list", "runs") == 0
    assert capsys.readouterr().out == "no saved runs\n"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["run", *SMALL], "runs/azure2023-conv-1"),
        (["run", *SMALL, "--out", "a"], "a"),
        (["sweep", "study.toml", "--jobs", 1], "runs/study"),
        (["init", "mine.toml"], "mine.toml"),
    ],
)
def test_quiet_prints_the_path_alone(here, capfd, words, path):
    assert call(*words, "-q") == 0
    assert capfd.readouterr() == (f"{path}\n", "")


def test_quiet_keeps_an_answer_that_no_folder_holds_and_errors(here, capfd):
    assert call("run", *SMALL, "--out", "a") == 0
    capfd.readouterr()
    assert call("show", "a", "--quiet") == 0
    assert "smooth goodput" in capfd.readouterr().out
    assert call("run", *SMALL, "--out", "b", "--quiet", "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["traffic"]["requests"] == 20
    assert err == "b\n"
    assert call("run", "--quiet", "--set", "hardware.gpu=none-such") == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_every_command_takes_quiet():
    grouped = {group.name: group.typer_instance.registered_commands for group in build().registered_groups}
    for name in commands():
        for words in [[name, each.name or each.callback.__name__] for each in grouped.get(name, [])] or [
            [name]
        ]:
            assert call(*words, "--quiet", "--help") == 0, words


def on_a_terminal(*words, cwd, env=()):
    """Run the command with stderr on a terminal; return what was written there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "TERM": "xterm-256color", **dict(env)},
    )  # fmt: skip
    os.close(slave)
    written = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(master)
    assert process.wait() == 0
    return written.decode()


MAIN = ("-m", "simulator.cli.main")


def test_a_bar_has_a_total_and_is_only_there_where_it_is_seen(here):
    sweep = (*MAIN, "sweep", "study.toml", "--jobs", "1")
    shown = on_a_terminal(*sweep, "--out", "a", cwd=here)
    assert "0 of 2" in shown
    assert "/?" not in shown
    assert "\x1b[3" in shown  # a colour
    assert " of 2" not in on_a_terminal(*sweep, "--out", "b", "--quiet", cwd=here)
    plain = on_a_terminal(*sweep, "--out", "c", cwd=here, env=[("NO_COLOR", "1")])
    assert "0 of 2" in plain
    assert "\x1b[3" not in plain


def test_no_bar_is_shown_under_a_debugger(here):
    code = (
        "import sys; sys.settrace(lambda *_: None); from simulator.cli.main import main; sys.exit(main({}))"
    )
    words = ["run", *SMALL, "--out", "a"]
    assert "simulated" not in on_a_terminal("-c", code.format(words), cwd=here)


def test_a_bar_stops_when_a_debugger_is_called_for(monkeypatch):
    written = []
    monkeypatch.setattr("simulator.cli.terminal.watched", lambda: True)
    monkeypatch.setattr(sys, "breakpointhook", lambda: written.append("here"))
    for shown in (counting("points", 3), progress("run")):
        hook = sys.breakpointhook
        with shown:
            breakpoint()
        assert sys.breakpointhook is hook
    assert written == ["here", "here"]
