"""Where a command's words go: its answer to stdout, all else to stderr, and with ``--quiet`` next to nothing."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class _Voice:
    quiet: bool = False
    answered: bool = False  # something is on stdout, which is for one thing only


_voice = _Voice()


@contextmanager
def speaking(quiet: bool) -> Iterator[None]:
    """Have all words of a command in this block go where ``--quiet`` wants them."""
    before = _voice.quiet, _voice.answered
    _voice.quiet, _voice.answered = quiet, False
    try:
        yield
    finally:
        _voice.quiet, _voice.answered = before


def is_quiet() -> bool:
    """Return whether only errors and the path of the result are wanted."""
    return _voice.quiet


def say(text: str, kept: Path | None = None) -> None:
    """Print what a command found; with ``--quiet`` only if no folder holds it."""
    if _voice.quiet and kept is not None:
        return
    _voice.answered = True
    sys.stdout.write(text)


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
