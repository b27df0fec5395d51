"""Ctrl-C, full disks, little memory, stalls: the right exit code, and what is kept is said."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.results.result import Result
from tests.refusals import command, environment, folder, interrupted, one_line, refusal

__all__ = ["folder"]  # the fixture, used by every test here


def test_an_output_folder_in_use_is_refused_before_anything_runs(capsys, monkeypatch):
    Path("o").mkdir()
    Path("o/mine.txt").write_text("precious")
    monkeypatch.setattr("simulator.scenario.run.run", None)
    text = refusal(capsys, "run", "s.toml", "--out", "o")
    assert text == "o: exists and is not empty; expected a new folder (or --overwrite)"
    assert "t.csv: exists and is not a folder" in refusal(capsys, "run", "s.toml", "--out", "t.csv")
    assert "Not a directory" in refusal(capsys, "run", "s.toml", "--out", "t.csv/o")


def test_overwrite_and_an_empty_folder_are_fine(capsys):
    Path("o").mkdir()
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot", "--overwrite"]) == 0
    capsys.readouterr()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_before_anything_runs(capsys):
    Path("o").mkdir(mode=0o500)
    assert "permission denied" in refusal(capsys, "run", "s.toml", "--out", "o").lower()


def test_a_full_disk_loses_the_file_but_not_the_result(capsys, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    assert cli.main(["run", "s.toml", "--out", "o"]) == 2
    captured = capsys.readouterr()
    assert one_line(captured.err) == "o: the records could not be saved: No space left on device"
    assert "smooth goodput" in captured.out


def test_a_disk_that_really_refuses_is_one_sentence_too():
    # a limit on the size of files makes the system call itself fail half-way through a real file
    done = subprocess.run(
        command("run", "--set", "workload.limit=500", "--out", "o", "--no-plot"),
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "o: the records could not be saved: " in one_line(done.stderr)
    assert "smooth goodput" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stdout_that_takes_nothing_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("list", "workloads"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    assert one_line(done.stderr) == "standard output: No space left on device"


def test_a_reader_that_leaves_early_is_no_error():
    shell = f"'{sys.executable}' -m simulator.cli.main run --print-scenario | true"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.stderr == ""


def test_ctrl_c_keeps_what_is_finished_and_marks_it_partial():
    code, out, err = interrupted(signal.SIGINT)
    assert code == 130, err
    text = one_line(err)
    assert text.startswith("interrupted at ")
    assert text.endswith("the records up to there are in o, marked partial")
    assert "WARNING: partial: the run was interrupted" in out
    result = Result.load("o")
    assert result.partial
    states = result.requests()["state"].to_pylist()
    assert "completed" in states
    assert "unfinished" in states


def test_ctrl_c_while_the_records_are_written_lets_them_be_finished(capsys, monkeypatch):
    write, once = pq.write_table, iter([signal.SIGINT])  # by whichever thread writes the first table

    def slow(*arguments: object, **options: object) -> None:
        for number in once:
            signal.raise_signal(number)
        write(*arguments, **options)

    monkeypatch.setattr(pq, "write_table", slow)
    text = refusal(capsys, "run", "s.toml", "--out", "o", code=130)
    assert text == "interrupted after the end of the simulation; all records are in o"
    assert not Result.load("o").partial
    assert not Path("o/overview.png").exists(), "the picture is what a hurried user can do without"


def test_a_second_ctrl_c_ends_at_once_and_says_what_is_lost(capsys, monkeypatch):
    def twice(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("simulator.results.writing._write_json", twice)  # in the thread that hears signals
        text = refusal(capsys, "run", "s.toml", "--out", "o", code=130)
        assert text == "interrupted twice; the records of this run are not in o"
    with monkeypatch.context() as patch:
        patch.setattr("simulator.scenario.run.run", twice)
        text = refusal(capsys, "run", "s.toml", "--out", "p", code=130)
        assert text == "interrupted twice; nothing was saved"
    assert not Path("p").exists()


def test_ctrl_c_before_the_command_has_begun_is_one_line():
    code = "import signal, simulator.cli.main; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode in (130, -signal.SIGINT)
    assert one_line(done.stderr) == "interrupted"


def test_ctrl_c_outside_a_run_is_130_too(capsys, monkeypatch):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.report.listing.listing", interrupt)
    assert refusal(capsys, "list", "gpus", code=130) == "interrupted"


def test_too_little_memory_is_one_sentence(capsys, monkeypatch):
    def hungry(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("simulator.scenario.run.run", hungry)
    assert "not enough memory" in refusal(capsys, "run", "s.toml")


def test_a_policy_that_stalls_is_named_and_the_records_are_kept(capsys):
    Path("lazy.py").write_text(
        "from simulator.policy import Scheduler\n"
        "class Lazy(Scheduler):\n"
        "    def plan(self, step):\n"
        "        if step.running:\n"
        "            step.decode_all()\n"
        "        elif step.waiting and step.waiting[0].prompt_tokens == 50:\n"
        "            job = step.waiting[0]\n"
        "            step.admit(job, job.known_tokens)\n"
    )
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot", "--set", "policy.scheduling=./lazy.py"]) == 3
    captured = capsys.readouterr()
    text = one_line(captured.err)
    assert "azy" in text
    assert text.endswith("the records up to there are in o, marked partial")
    assert "WARNING: partial: the run stalled" in captured.out
    assert Result.load("o").partial
