"""Where a command's words go: its answer to stdout, all else to stderr, and with ``--quiet`` next to nothing."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.report.tables import Document, Form

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
        sys.stdout.write("\n")
    _voice.answered = True
    if _voice.form == "plain" and sys.stdout.isatty():
        _on_a_terminal(found)
    else:
        sys.stdout.write(found.render(_voice.form))


def _on_a_terminal(found: "Document") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for text, kind in found.lines(console.width):
        console.print(Text(text, style=_STYLES.get(kind, "")))


def print_json(found: Any) -> None:
    """Print what a command found, for programs: numbers as they are, None where there is none."""
    _voice.answered = True
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")


def wrote(what: str, path: Path, more: str = "") -> None:
    """Say where a result is; with ``--quiet`` the path alone, on stdout if nothing else is there."""
    if _voice.quiet:
        print(path, file=sys.stderr if _voice.answered else sys.stdout)
    else:
        print(f"{what}: {path}{more}", file=sys.stderr)


def remark(text: str) -> None:
    """Say on stderr what is neither answer nor error; not with ``--quiet``."""
    if not _voice.quiet:
        print(text, file=sys.stderr)


def warn(text: str) -> None:
    """Say what makes an answer less than it seems; not with ``--quiet``."""
    remark(f"servesim: warning: {text}")
