"""Running the command where it should refuse, and checking the form of what it says."""

import os
import sys
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
