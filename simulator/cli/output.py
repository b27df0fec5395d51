"""Where a command's words go: its answer to stdout, all else to stderr, and with ``--quiet`` next to nothing."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.report.tables import Document, Form

# Control characters but tabs and ends of lines, and what changes the direction of a text: a name could have them
# rewrite what stands beside it on a terminal.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_LONGEST = 2000  # characters of a sentence
_STYLES = {"title": "bold", "head": "bold cyan", "warning": "bold yellow"}


@dataclass
class _Voice:
    quiet: bool = False
    form: "Form" = "plain"
    answered: bool = False  # something is on stdout, which is for one thing only


_voice = _Voice()


@contextmanager
def speaking(quiet: bool, form: "Form" = "plain") -> Iterator[None]:
    """Have all words of a command in this block go where ``--quiet`` and ``--format`` want them."""
    before = _voice.quiet, _voice.form, _voice.answered
    _voice.quiet, _voice.form, _voice.answered = quiet, form, False
    try:
        yield
    finally:
        _voice.quiet, _voice.form, _voice.answered = before


def ready_streams() -> None:
    """Have all standard streams, also those that were closed, take any text: what they cannot encode is escaped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return a text with its control characters, and those that change its direction, as Python escapes them."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def answer(text: str) -> None:
    """Write to stdout; an OSError says that it was stdout."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def tell(text: str) -> None:
    """Write a line to stderr, cut in the middle if it has no end; where it takes nothing all goes on without."""
    text = printable(text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} [...] {text[-_LONGEST // 3 :]}"
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        let_go_of(sys.stderr)


def let_go_of(stream: IO[str]) -> None:
    """Leave nothing unwritten behind that the interpreter would stumble over when it exits."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_quiet() -> bool:
    """Return whether only errors and the path of the result are wanted."""
    return _voice.quiet


def say(found: "Document", kept: Path | None = None) -> None:
    """Print what a command found, as ``--format`` says; with ``--quiet`` only if no folder holds it.

    On a terminal it is as wide as that, with headings in bold and warnings in colour; elsewhere as wide as it is.
    """
    if _voice.quiet and kept is not None:
        return
    if _voice.answered and _voice.form == "plain" and found.tables:
        answer("\n")
    _voice.answered = True
    if _voice.form == "plain" and sys.stdout.isatty():
        _on_a_terminal(found)
    else:
        answer(printable(found.render(_voice.form)))


def _on_a_terminal(found: "Document") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for text, kind in found.lines(console.width):
        console.print(Text(printable(text), style=_STYLES.get(kind, "")))


def print_json(found: Any) -> None:
    """Print what a command found, for programs: numbers as they are, None where there is none."""
    _voice.answered = True
    answer(json.dumps(found, indent=2, default=str) + "\n")


def wrote(what: str, path: Path, more: str = "") -> None:
    """Say where a result is; with ``--quiet`` the path alone, on stdout if nothing else is there."""
    if _voice.quiet:
        (tell if _voice.answered else print)(printable(str(path)))
    else:
        tell(f"{what}: {path}{more}")


def remark(text: str) -> None:
    """Say on stderr what is neither answer nor error; not with ``--quiet``."""
    if not _voice.quiet:
        tell(text)


def warn(text: str) -> None:
    """Say what makes an answer less than it seems; not with ``--quiet``."""
    remark(f"servesim: warning: {text}")
