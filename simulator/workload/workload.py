"""The traffic of one run, as columns, checked once where it is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Flags, Floats, Ints
from simulator.errors import InputError

Column = TypeVar("Column", bound=NDArray[Any])

LATEST_S = 1e10  # 300 years, any clock's epoch included; beyond it float seconds lose the microseconds
LARGEST_INTEGER = 2**53 - 1  # beyond it two whole numbers may be one and the same float
LARGEST_FACTOR = 1e12  # of a load over time, or requests/s
LARGEST_TOKENS = 1_000_000_000  # per request: far beyond any context, far below what sums of int64 can hold

_OPTIONAL = (
    "priority",
    "leave_s",
    "segments",
    "output_stream",
    "tenant",
    "predicted_tokens",
    "session",
    "think_s",
)


@dataclass(frozen=True)
class Workload:
    """Requests in order of arrival; every array has one entry a request and is read-only.

    Whole numbers are int64, or int32 where they were given so. An array that owns its numbers and is read-only
    is kept as it is, any other is copied.

    Raises ``InputError``, naming the request by its index from 0, if there is no request, a value is
    not finite, negative or zero where it must not be, arrivals go back in time, an output exceeds
    ``max_tokens``, or an optional column is not as long as the others.
    """

    name: str
    arrival_s: Floats  # ascending, >= 0
    prompt_tokens: Ints  # >= 1
    output_tokens: Ints  # >= 1 and <= max_tokens
    max_tokens: int  # the output bound that clients send
    source: str  # one line: where this traffic comes from
    priority: Ints | None = None  # the lower, the sooner; None: all alike
    leave_s: Floats | None = None  # when a client gives up, NaN or None: never
    # Closed loop: so many clients, each sending its next request when it has the answer to the one before;
    # arrival_s then counts for nothing. None: open loop.
    concurrency: int | None = None
    # What prompts consist of, as (stream, tokens) one after another, and the stream of each answer: two
    # tokens are the same if stream and position are. None: no two requests have anything in common.
    segments: Sequence[Sequence[tuple[int, int]]] | None = None
    output_stream: Ints | None = None
    tenant: Ints | None = None  # who pays; None: one and the same
    predicted_tokens: Ints | None = None  # what a predictor says of the output, >= 1; None: max_tokens
    session: Ints | None = None  # conversation that a request belongs to, -1: none
    # Seconds between the answer to the session's request before and this one, which arrives then (closed
    # loop; its arrival_s only says in which order rows are); NaN: it arrives at arrival_s.
    think_s: Floats | None = None

    def __post_init__(self) -> None:
        """Check the columns and make them private and read-only."""
        arrival = np.asarray(self.arrival_s, dtype=np.float64)
        prompt = whole_numbers("prompt_tokens", self.prompt_tokens, _request)
        output = whole_numbers("output_tokens", self.output_tokens, _request)
        if not (
            arrival.ndim == prompt.ndim == output.ndim == 1 and len(arrival) == len(prompt) == len(output)
        ):
            raise InputError(
                f"workload {self.name!r}: arrival_s, prompt_tokens and output_tokens must be columns of one"
                f" length, got shapes {arrival.shape}, {prompt.shape} and {output.shape}"
            )
        if len(arrival) == 0:
            raise InputError(f"workload {self.name!r}: no requests; at least one is needed")
        check_arrivals("arrival_s", arrival, _request)
        if output.max() > self.max_tokens:
            i = int(np.argmax(output > self.max_tokens))
            raise InputError(
                f"request {i}: output_tokens is {output[i]}, above max_tokens = {self.max_tokens}"
            )
        columns = {"arrival_s": arrival, "prompt_tokens": prompt, "output_tokens": output}
        columns |= self._optional_columns(len(arrival))
        for name, column in columns.items():
            object.__setattr__(self, name, _private(column))

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.arrival_s)

    def _optional_columns(self, n: int) -> dict[str, Floats | Ints]:
        """Check the optional columns that are there; return those that are arrays."""
        found: dict[str, Floats | Ints] = {}
        for name in _OPTIONAL:
            column = getattr(self, name)
            if column is None:
                continue
            if len(column) != n:
                raise InputError(
                    f"workload {self.name!r}: {name} has {len(column)} entries; expected one for each of the"
                    f" {n} requests"
                )
            if name in ("leave_s", "think_s"):
                seconds = np.asarray(column, dtype=np.float64)
                check_patience(name, seconds, _request)
                found[name] = seconds
            elif name == "predicted_tokens":
                found[name] = whole_numbers(name, np.asarray(column), _request)
            elif name != "segments":
                found[name] = integers(name, np.asarray(column), _request)
        return found


def check_arrivals(column: str, arrival_s: Floats, where: Callable[[int], str]) -> None:
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


def whole_numbers(column: str, values: Floats | Ints, where: Callable[[int], str]) -> Ints:
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


def integers(column: str, values: Floats | Ints, where: Callable[[int], str]) -> Ints:
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


def check_patience(column: str, seconds: Floats, where: Callable[[int], str]) -> None:
    """Raise ``InputError`` unless every entry is a number of seconds in range, or NaN for never."""
    bad = (seconds < 0) | (seconds > LATEST_S)
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError(
            f"{where(i)}: {column} is {seconds[i]:g}; expected a number of seconds from 0 to {LATEST_S:g},"
            " or nothing for a client that never gives up"
        )


def refuse_unless(
    good: Flags, values: Floats, column: str, expected: str, where: Callable[[int], str]
) -> None:
    """Raise ``InputError`` for the first value that is not ``good``."""
    if not good.all():
        i = int(np.argmin(good))
        raise InputError(f"{where(i)}: {column} is {values[i]:.17g}; expected {expected}")


def _request(i: int) -> str:
    return f"request {i}"


def _is_whole(numbers: NDArray[np.generic]) -> bool:
    return numbers.dtype in (np.int32, np.int64)


def _private(column: Column) -> Column:
    """Return a read-only column that no caller can write to."""
    if column.flags.writeable or column.base is not None:
        column = column.copy()
        column.flags.writeable = False
    return column
