"""Standard streams that are closed, full or of any encoding, and signals: the right exit code, no traceback."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.cli import interrupts, output
from simulator.cli import main as cli
from tests.refusals import command, environment, folder, interrupted, one_line, refusal

__all__ = ["folder"]  # the fixture, used by every test here

UNSEEN = [
    "\x1b[31m",
    "\x07",
    "\x00",
    "\r",
    "\x7f",
    "\u009b31m",
    "\u202e",
    "\u2066",
    "\u200f",
    "\ufeff",
    "\u2028",
]


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which "$S" is the command."""
    words = " ".join(command())
    return subprocess.run(
        ["bash", "-c", line.replace("$S", words)],
        capture_output=True,
        text=True,
        env={**environment(), **variables},
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$S run s.toml --no-plot >&-", 0),
        ("$S run s.toml --no-plot 2>&-", 0),
        ("$S run s.toml --no-plot >&- 2>&- <&-", 0),
        ("$S run s.toml --no-plot 2>/dev/full", 0),
        ("$S run s.toml --no-plot >/dev/full", 2),
        ("$S run gone.toml 2>&-", 2),
        ("$S show gone 2>/dev/full", 2),
        ("$S run --help | true; exit ${PIPESTATUS[0]}", 0),
        ("$S run s.toml --print-scenario | true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_streams_that_are_closed_or_full(line, code):
    done = shell(line)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_a_name_that_stdout_cannot_encode_is_escaped(encoding):
    done = shell(
        '$S run s.toml --set "name=caf\u00e9 \u65e5\u672c" --print-scenario | wc -c',
        PYTHONIOENCODING=encoding,
    )
    assert int(done.stdout) > 1000
    assert done.stderr == ""


@pytest.mark.parametrize("backend", ["bogus"])
def test_pictures_are_files_whatever_draws_on_screens(backend):
    done = shell("$S run s.toml --out o", MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, "records: o\n")
    assert Path("o/overview.png").stat().st_size > 10_000


@pytest.mark.parametrize("text", UNSEEN)
def test_what_cannot_be_seen_is_escaped(text, capsys):
    assert (
        output.printable(f"a{text}b\n\tc") == f"a{text[0].encode('unicode_escape').decode()}{text[1:]}b\n\tc"
    )
    said = refusal(capsys, "run", f"gone{text.replace(chr(0), '?')}.toml")
    assert text not in said


@pytest.mark.parametrize("text", UNSEEN[:-1])
def test_a_name_has_no_such_characters(text, capsys):
    if text in ("\ufeff",):
        pytest.skip("it is not seen, and turns nothing")
    assert "name: expected one line of text" in refusal(capsys, "run", "--set", f"name=a{text}b")


@pytest.mark.parametrize("words", [["run", "--set"], ["run"], ["show"], ["run", "--out"]])
def test_a_sentence_has_an_end(words, capsys):
    assert len(refusal(capsys, *words, "x" * 100_000)) < 2_500


def test_sigterm_keeps_the_records():
    code, _, err = interrupted(signal.SIGTERM)
    assert code == 143, err
    assert one_line(err).endswith("the records up to there are in o, marked partial")
    assert cli.main(["show", "o", "--quiet"]) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("made_of_it", [ImportError, SystemError, ValueError, KeyboardInterrupt])
def test_a_signal_in_an_import_is_no_traceback(number, code, made_of_it, monkeypatch, capsys):
    def listing(*arguments: object) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:
            raise made_of_it("initialization failed") from error

    monkeypatch.setattr("simulator.report.listing.listing", listing)
    assert refusal(capsys, "list", "gpus", code=code) == "interrupted"


def test_a_signal_in_a_text_that_is_executed_ends_in_the_exit_code_of_the_command(tmp_path):
    """As one that is started by ``-m``, and does not leave in a hurry."""
    (tmp_path / "plan_started.py").write_text(
        "from simulator.cli import main\n"
        "def interrupted():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 143\n"
        "main.main = interrupted\n"
        "main.entry()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "plan_started"], cwd=tmp_path, env=environment(), check=False
    )
    assert done.returncode == 143


def test_signals_are_as_before_when_a_command_has_ended(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["list", "gpus"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGINT) is not interrupts.interrupt
    capsys.readouterr()


def test_an_interrupt_that_a_finaliser_swallows_comes_again(capsys):
    class Finalised:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0)  # where the interrupt is raised, and goes no further

    before = sys.unraisablehook
    with interrupts.listening():
        Finalised()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
        assert interrupts.exit_code() == interrupts.TERMINATED
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


def test_other_errors_of_finalisers_are_told_as_ever(capsys):
    class Finalised:
        def __del__(self):
            raise ValueError("of a finaliser")

    with interrupts.listening():
        Finalised()
    assert "ValueError: of a finaliser" in capsys.readouterr().err


def test_a_full_disk_is_named(capsys, monkeypatch):
    def write(text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout.write", write)
    assert refusal(capsys, "list", "gpus") == "standard output: No space left on device"
