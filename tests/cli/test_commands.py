"""Which commands there are, how they are found, and what their help shows."""

import subprocess
import sys
import time

import pytest

import simulator.cli.commands
from simulator.cli import main as cli
from tests.commands import servesim


def test_help_is_quick_and_shows_examples():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    lasted_s = time.perf_counter() - started
    for command in ("run", "compare", "list", "show"):
        assert f"\n  {command} " in done.stdout
    assert lasted_s < 2.0, (
        "far above what it takes, far below what importing the simulator takes on a busy machine"
    )
    loaded = (
        "import sys, simulator.cli.main as cli; cli.main(['--help']);"
        "print([name for name in ('numpy', 'pydantic', 'pyarrow', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "the command starts without the libraries it may not need"


def listed(text: str) -> list[str]:
    lines = text.partition("Commands:")[2].partition("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]


def test_help_lists_the_commands_in_order(capsys):
    assert listed(servesim(capsys, "--help")) == [
        "run",
        "init",
        "check",
        "compare",
        "list",
        "schema",
        "inspect",
        "show",
        "explain",
        "report",
        "score",
        "replay",
        "observe",
        "export",
        "verify",
        "ui",
        "sweep",
        "capacity",
        "tune",
        "plan",
        "validate",
        "reproduce",
        "profile",
    ]


@pytest.fixture
def own_commands(tmp_path, monkeypatch):
    """A folder for more commands."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setattr(simulator.cli.commands, "__path__", [*simulator.cli.commands.__path__, str(folder)])
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(f"simulator.cli.commands.{path.stem}", None)
        vars(simulator.cli.commands).pop(path.stem, None)


def test_a_command_is_one_new_file(own_commands, capsys):
    (own_commands / "two_words.py").write_text(
        "EPILOG = 'Example: servesim two-words hello'\n"
        "def two_words(first: str, loud: bool = False):\n"
        "    'Say a word twice.'\n"
        "    print(first, first.upper() if loud else first)\n"
    )
    (own_commands / "_helper.py").write_text("raise RuntimeError\n")
    assert servesim(capsys, "two-words", "hello", "--loud") == "hello HELLO\n"
    assert set(listed(servesim(capsys, "--help"))[-2:]) == {"profile", "two-words"}  # groups come last
    assert "Example: servesim two-words hello" in servesim(capsys, "two-words", "--help")


def test_a_file_without_a_command_is_named(own_commands, capsys):
    (own_commands / "empty.py").write_text("")
    for arguments in (["--help"], ["empty"], ["empty", "--help"]):
        assert cli.main(arguments) == 2
        assert "empty.py: no function empty or command, and no typer app" in capsys.readouterr().err
    assert cli.main(["list", "gpus"]) == 0, "a command needs none of the others"


def test_a_command_is_called_without_importing_the_others():
    code = (
        "import sys, simulator.cli.main as cli; cli.main(['list', 'links']);"
        "print([name for name in sys.modules if '.commands.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['simulator.cli.commands.list']"


def test_without_the_experiments_there_are_still_the_commands(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "experiments", None)
    monkeypatch.delitem(sys.modules, "experiments.commands", raising=False)
    assert "validate" not in servesim(capsys, "--help")


def test_run_help_has_examples(capsys):
    out = servesim(capsys, "run", "--help")
    assert "servesim run --set policy.scheduling=orca" in out
    assert "--set SECTION.KEY=VALUE" in out


def test_no_command_shows_the_help(capsys):
    assert "Usage: servesim" in servesim(capsys)
