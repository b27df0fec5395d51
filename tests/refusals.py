"""Running the command where it should refuse, and checking the form of what it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.cli import main as cli

ROOT = str(Path(__file__).parent.parent)
TRACE = "arrival_s,prompt_tokens,output_tokens\n"
GOOD = '[workload]\ntrace = "t.csv"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a good scenario, s.toml, and its good trace, t.csv."""
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(GOOD)
    Path("t.csv").write_text(TRACE + "0,50,5\n1,60,6\n")
    return tmp_path


def refusal(capsys, *arguments: str, code: int = 2) -> str:
    """Run the command, check the form of its refusal, and return the sentence."""
    assert cli.main(list(arguments)) == code
    captured = capsys.readouterr()
    return one_line(captured.err)


def one_line(stderr: str) -> str:
    assert stderr.startswith("servesim: error: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    assert "Traceback" not in stderr
    return stderr.removeprefix("servesim: error: ").rstrip("\n")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "simulator.cli.main", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ROOT}


def interrupted(number: signal.Signals) -> tuple[int, str, str]:
    """Run the command into o and send it a signal when it is under way; return its exit code and what it printed.

    It would go on for a very long time. Each answer is longer than the gap: some request is always being served.
    """
    keys = ("arrivals=constant", "rate_rps=2", "requests=2000000", "prompt_tokens=50", "output_tokens=500")
    settings = [part for key in keys for part in ("--set", f"workload.{key}")]
    process = subprocess.Popen(
        command("run", "--out", "o", "--no-plot", *settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 30
    while not Path("o").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
