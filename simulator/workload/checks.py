"""What numbers of traffic may be; every refusal is one ``InputError`` that says where, which, and what was expected."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Flags, Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import DEFAULTS, FIELDS, Field

LATEST_S = 1e10  # 300 years, any clock's epoch included; beyond it float seconds lose the microseconds
LARGEST_INTEGER = 2**53 - 1  # beyond it two whole numbers may be one and the same float
LARGEST_FACTOR = 1e12  # of a load over time, or requests/s
LEAST_V_S = 1e-9  # a reader's seconds per token, unless it is 0: the default alpha of 1/V is as many tokens
LARGEST_TOKENS = 1_000_000_000  # per request: far beyond any context, far below what sums of int64 can hold
_LARGEST_NUMBER = 1e300

Where = Callable[[int], str]  # names an entry in error sentences


def field(name: str, values: NDArray[Any], label: str, where: Where) -> Ints | Floats:
    """Return values of a field of ``Request`` as its kind of numbers; raise ``InputError`` for one that it cannot be.

    ``label`` is what the values are called in the error sentence.
    """
    declared = FIELDS[name]
    if declared.kind == "tokens":
        return whole_numbers(label, values, where)
    if declared.is_float:
        seconds = np.asarray(values, dtype=np.float64)
        _check_floats(declared, DEFAULTS[name], seconds, label, where)
        return seconds
    numbers = integers(label, values, where)
    low = -LARGEST_INTEGER if declared.least is None else int(declared.least)
    high = LARGEST_INTEGER if declared.most is None else int(declared.most)
    if declared.least is not None or declared.most is not None:
        good = (numbers >= low) & (numbers <= high)
        if not good.all():
            i = int(np.argmin(good))
            raise InputError(
                f"{where(i)}: {label} is {numbers[i]}; expected a whole number from {low:,} to {high:,}"
            )
    return numbers


def _check_floats(declared: Field, default: float, values: Floats, label: str, where: Where) -> None:
    low, high = (0.0, LATEST_S) if declared.kind == "seconds" else (-_LARGEST_NUMBER, _LARGEST_NUMBER)
    low = low if declared.least is None else declared.least
    high = high if declared.most is None else declared.most
    may_be_absent = np.isnan(default)
    with np.errstate(invalid="ignore"):
        good = ((values >= low) & (values <= high)) | (np.isnan(values) & may_be_absent)
    if not good.all():
        i = int(np.argmin(good))
        what = "a number of seconds" if declared.kind == "seconds" else "a number"
        absent = f", or nothing for {declared.absent or 'none'}" if may_be_absent else ""
        raise InputError(
            f"{where(i)}: {label} is {values[i]:g}; expected {what} from {low:g} to {high:g}{absent}"
        )


def check_arrivals(column: str, arrival_s: Floats, where: Where) -> None:
    """Raise ``InputError`` unless the times are in range and ascending; ``where(i)`` names entry i."""
    with np.errstate(invalid="ignore"):
        good = (arrival_s >= 0) & (arrival_s <= LATEST_S)
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(
            f"{where(i)}: {column} is {arrival_s[i]:g}; expected a number of seconds from 0 to {LATEST_S:g}"
        )
    back = arrival_s[1:] < arrival_s[:-1]
    if back.any():
        i = int(np.argmax(back)) + 1
        raise InputError(
            f"{where(i)}: {column} is {float(arrival_s[i])!r} after {float(arrival_s[i - 1])!r} just before;"
            " expected ascending times (sort the trace)"
        )


def whole_numbers(column: str, values: Floats | Ints, where: Where) -> Ints:
    """Return token counts as whole numbers; raise ``InputError`` unless all are whole and >= 1."""
    numbers = np.asarray(values)
    if _is_whole(numbers) and len(numbers) and numbers.min() >= 1 and numbers.max() <= LARGEST_TOKENS:
        return cast(Ints, numbers)
    with np.errstate(invalid="ignore"):
        good = (numbers >= 1) & (numbers <= LARGEST_TOKENS) & (numbers == np.floor(numbers))
    if not good.all():
        i = int(np.argmin(good))
        most = f" and <= {LARGEST_TOKENS:,}" if numbers[i] > LARGEST_TOKENS else ""
        raise InputError(
            f"{where(i)}: {column} is {numbers[i]:g}; expected a whole number of tokens >= 1{most}"
        )
    return cast(Ints, numbers) if _is_whole(numbers) else numbers.astype(np.int64)


def integers(column: str, values: Floats | Ints, where: Where) -> Ints:
    """Return whole numbers of either sign as such; raise ``InputError`` for anything else."""
    if values.dtype == np.int32:
        return cast(Ints, values)
    with np.errstate(invalid="ignore"):
        good = (np.abs(values) <= LARGEST_INTEGER) & (values == np.floor(values))
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(
            f"{where(i)}: {column} is {values[i]:.17g}; expected a whole number"
            + (f" of at most {LARGEST_INTEGER:,}" if abs(values[i]) > LARGEST_INTEGER else "")
        )
    return values.astype(np.int64, copy=False)


def refuse_unless(good: Flags, values: Floats, column: str, expected: str, where: Where) -> None:
    """Raise ``InputError`` for the first value that is not ``good``."""
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(f"{where(i)}: {column} is {values[i]:.17g}; expected {expected}")


def _is_whole(numbers: NDArray[np.generic]) -> bool:
    return numbers.dtype in (np.int32, np.int64)
