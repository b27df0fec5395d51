"""Files that others wrote, within bounds: no pipe or device, nothing nested without end, no number of 5,000 digits.

A reader says itself what is wrong with the contents; here it gets one kind of error for all that cannot be parsed.
"""

import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from simulator.errors import InputError

MOST_TEXT_BYTES = 2**28  # of a file that is read as a whole: scenarios have a few thousand
DEEPEST = 64  # tables in tables, and parts of a dotted key

_KEY = re.compile(rf"(?<![\w.\"'-])[\w\"'-]+(?:[ \t]*\.[ \t]*[\w\"'-]+){{{DEEPEST}}}")


def check_regular(path: Path) -> None:
    """Raise InputError for a pipe, a device or a socket, which may never end; a path that is not there passes."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: not a regular file; expected one, as a pipe or a device may have no end")


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a regular file; InputError for another one, or one of more than ``MOST_TEXT_BYTES``.

    Raises OSError and UnicodeDecodeError as ``Path.read_text`` does.
    """
    check_regular(path)
    size = path.stat().st_size
    if size > MOST_TEXT_BYTES:
        raise InputError(f"{path}: {size:,} bytes found; expected at most {MOST_TEXT_BYTES:,}")
    return path.read_text(encoding=encoding)


class NotTomlError(ValueError):
    """A text is no TOML; says why, and at its end where if that is known."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text; NotTomlError whatever is wrong with it."""
    if _KEY.search(text):
        raise NotTomlError(f"a key of more than {DEEPEST} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotTomlError(str(error)) from error
    except RecursionError as error:
        raise NotTomlError("nested too deeply") from error
    except ValueError as error:  # a number that Python does not convert, a date that there is none of
        raise NotTomlError(str(error).partition(";")[0]) from error


def parse_json(text: str) -> Any:
    """Return a JSON value; ValueError whatever is wrong with the text."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError(str(error).partition(";")[0]) from error


def as_json(value: Any) -> str:
    """Return a value that a file has as JSON for a sentence, in at most 60 characters."""
    try:
        return shortened(json.dumps(value, default=str))
    except RecursionError:
        return "nested too deeply"


def shortened(text: str) -> str:
    """Return a text in at most 60 characters."""
    return text if len(text) <= 60 else text[:57] + "..."
