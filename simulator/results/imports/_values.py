"""Reading a result file: its JSON values with every digit, and numbers out of them with the place in the sentence."""

import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.input_files import as_json, read_text

_LARGEST = 1e15  # a number of seconds, milliseconds or tokens
_SMALLEST = 1e-300  # below which more digits say nothing
Number = int | float | Decimal


def documents(path: Path) -> list[Any]:
    """Return the JSON values of a file: the only one, or one a line.

    Numbers with more digits than a float has are ``Decimal``. Raises InputError, naming the line, for anything else.
    """
    try:
        text = read_text(path, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({_why(error)})") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected results of a load test")
    try:
        return [_decoded(text)]
    except ValueError as error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2:
            raise InputError(f"{path}, {_place(error)}") from None
    found = []
    for i, line in lines:
        try:
            found.append(_decoded(line))
        except ValueError as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{path}, line {i}: not JSON ({what})") from None
    return found


def seconds_after(start_s: float, gaps: Sequence[Number]) -> Floats:
    """Return ``start_s`` plus the running sums of ``gaps`` in seconds, f64[gaps]; each sum is rounded once.

    A gap with more digits than a float has (``Decimal``) is added with all of them.
    """
    if not any(isinstance(gap, Decimal) for gap in gaps):
        return np.cumsum(np.array([start_s, *gaps], dtype=np.float64))[1:]
    times = [start_s]
    for gap in gaps:
        times.append(float(Fraction(times[-1]) + Fraction(gap)))
    return np.array(times[1:])


def number(value: Any, where: str, *, least: float = -_LARGEST) -> Number:
    """Return a number as it is in the file; InputError naming the place for what is none or out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InputError(f"{where} is {shown(value)}; expected a number")
    if not least <= value <= _LARGEST:  # which NaN is not, either
        raise InputError(f"{where} is {shown(value)}; expected a number from {least:g} to {_LARGEST:g}")
    return value


def seconds(value: Any, where: str, *, least: float = 0.0) -> float:
    """Return a number of seconds as a float."""
    return float(number(value, where, least=least))


def tokens(value: Any, where: str) -> int:
    """Return a whole number of tokens from 0."""
    found = number(value, where, least=0)
    if found != int(found):
        raise InputError(f"{where} is {shown(value)}; expected a whole number of tokens")
    return int(found)


def numbers(value: Any, where: str, *, least: float = -_LARGEST) -> list[Number]:
    """Return a list of numbers."""
    if not isinstance(value, list):
        raise InputError(f"{where} is {shown(value)}; expected a list of numbers")
    if value and all(type(each) is float for each in value):  # nearly always, and then checked at once
        column = np.array(value)
        if column.min() >= least and column.max() <= _LARGEST:
            return value
    return [number(each, f"{where}[{i}]", least=least) for i, each in enumerate(value)]


def table(value: Any, where: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{where} is {shown(value)}; expected a JSON object")
    return value


def rows(value: Any, where: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise InputError(f"{where} is {shown(value)}; expected a list")
    return value


def text(value: Any) -> str | None:
    """Return a text that is not empty and can be printed, or None."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value.encode("utf-8", "replace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a value for a sentence."""
    return "not there" if value is None else as_json(value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_exact)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _exact(digits: str) -> float | Decimal:
    """Return a number as a float or, where that is not what the digits say, as a decimal."""
    value = float(digits)
    if len(digits) <= 24 or not _SMALLEST < abs(value) < _LARGEST:  # as long as a float is written at most
        return value
    return Decimal(digits)


def _place(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: not JSON ({error.msg})"
    return f"not JSON that can be read ({error})"


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
