"""The traffic of one run, as columns, checked once where it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import FIELDS
from simulator.workload import checks

Column = TypeVar("Column", bound=NDArray[Any])


@dataclass(frozen=True, init=False)
class Workload:
    """Requests in order of arrival; every array has one entry a request and is read-only.

    Beside what is named here, every optional field of ``Request`` can be given by its name, and is an attribute
    of that name: None where nothing is known of it, so that all requests have the default.

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
    # Closed loop: so many clients, each sending its next request when it has the answer to the one before;
    # arrival_s then counts for nothing. None: open loop.
    concurrency: int | None
    # Of these clients: seconds over which they start, evenly; and the least time between two of their requests, s.
    ramp_s: float
    send_gap_s: float
    # What prompts consist of, as (stream, tokens) one after another, and the stream of each answer: two
    # tokens are the same if stream and position are. None: no two requests have anything in common.
    segments: Sequence[Sequence[tuple[int, int]]] | None
    output_stream: Ints | None
    # Graphs of agents: the earlier rows whose answers each request waits for, before its think time: row i's are
    # entries offsets[i] to offsets[i + 1] of the second. None: a session's turns wait for the one before.
    waits_for: tuple[Ints, Ints] | None
    model_names: Sequence[str]  # that requests ask for; ``Request.model`` is a number of one
    optional: Mapping[str, Ints | Floats]  # the fields of ``Request`` that are given, by name

    def __init__(
        self,
        name: str,
        arrival_s: ArrayLike,
        prompt_tokens: ArrayLike,
        output_tokens: ArrayLike,
        max_tokens: int,
        source: str,
        concurrency: int | None = None,
        ramp_s: float = 0.0,
        send_gap_s: float = 0.0,
        segments: Sequence[Sequence[tuple[int, int]]] | None = None,
        output_stream: ArrayLike | None = None,
        optional: Mapping[str, ArrayLike | None] | None = None,
        waits_for: tuple[Ints, Ints] | None = None,
        model_names: Sequence[str] = (),
        **fields: ArrayLike | None,
    ) -> None:
        """Check the columns and make them private and read-only; ``fields`` go before those of ``optional``."""
        arrival = np.asarray(arrival_s, dtype=np.float64)
        prompt = checks.whole_numbers("prompt_tokens", np.asarray(prompt_tokens), _request)
        output = checks.whole_numbers("output_tokens", np.asarray(output_tokens), _request)
        if not (
            arrival.ndim == prompt.ndim == output.ndim == 1 and len(arrival) == len(prompt) == len(output)
        ):
            raise InputError(
                f"workload {name!r}: arrival_s, prompt_tokens and output_tokens must be columns of one"
                f" length, got shapes {arrival.shape}, {prompt.shape} and {output.shape}"
            )
        n = len(arrival)
        if n == 0:
            raise InputError(f"workload {name!r}: no requests; at least one is needed")
        checks.check_arrivals("arrival_s", arrival, _request)
        if output.max() > max_tokens:
            i = int(np.argmax(output > max_tokens))
            raise InputError(f"request {i}: output_tokens is {output[i]}, above max_tokens = {max_tokens}")
        given = {
            key: column for key, column in ({**(optional or {}), **fields}).items() if column is not None
        }
        if unknown := given.keys() - FIELDS.keys():
            raise TypeError(
                f"a request has no field {', '.join(sorted(unknown))}; it has {', '.join(FIELDS)}"
            )
        arrays = {key: np.asarray(column) for key, column in given.items()}
        limit = arrays.get("limit_tokens")
        if limit is not None and limit.shape == output.shape and (output > limit).any():
            i = int(np.argmax(output > limit))
            raise InputError(
                f"request {i}: output_tokens is {output[i]}, above its limit_tokens = {limit[i]}"
            )
        stream = None if output_stream is None else np.asarray(output_stream)
        for key, column in {**arrays, "segments": segments, "output_stream": stream}.items():
            if column is not None and len(column) != n:
                raise InputError(
                    f"workload {name!r}: {key} has {len(column)} entries; expected one for each of the"
                    f" {n} requests"
                )
        if stream is not None:
            stream = _private(checks.integers("output_stream", stream, _request))
        self.__dict__.update(
            name=name,
            arrival_s=_private(arrival),
            prompt_tokens=_private(prompt),
            output_tokens=_private(output),
            max_tokens=int(
                max_tokens
            ),  # a column's largest is a number of numpy's, which compiled code refuses
            source=source,
            concurrency=None if concurrency is None else int(concurrency),
            ramp_s=float(ramp_s),
            send_gap_s=float(send_gap_s),
            segments=segments,
            output_stream=stream,
            waits_for=None if waits_for is None else _earlier(*waits_for, n),
            model_names=model_names,
            optional={
                key: _private(checks.field(key, column, key, _request)) for key, column in arrays.items()
            },
        )

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.arrival_s)

    def __getattr__(self, name: str) -> NDArray[Any] | None:
        """Return the column of an optional field of ``Request``."""
        if name not in FIELDS:
            raise AttributeError(f"a workload has no {name}", name=name, obj=self)
        return self.optional.get(name)


def _request(i: int) -> str:
    return f"request {i}"


def _earlier(offsets: Ints, rows: Ints, n: int) -> tuple[Ints, Ints]:
    """Return whom requests wait for; raise ``InputError`` if one waits for itself or for a later one."""
    of = np.repeat(np.arange(n), np.diff(offsets))
    if not ((rows >= 0) & (rows < of)).all():
        i = int(np.argmax(rows >= of))
        raise InputError(
            f"request {of[i]}: waits for the answer to request {rows[i]}; expected an earlier one"
        )
    return _private(offsets), _private(rows)


def _private(column: Column) -> Column:
    """Return a read-only column that no caller can write to."""
    if column.flags.writeable or column.base is not None:
        column = column.copy()
        column.flags.writeable = False
    return column
