"""Traffic on its way to a ``Workload``: what a trace or a generator says of every request, column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Flags, Floats, Ints
from simulator.workload import graph, segments
from simulator.workload.segments import Segments

Rows = slice | Flags | Ints

_REQUIRED = ("arrival_s", "prompt_tokens", "output_tokens")
_INNER = ("counted_from", "node", "continues")
_INT32 = np.iinfo(np.int32)


def compact(numbers: Ints) -> Ints:
    """Return whole numbers in half the room, where they fit."""
    if len(numbers) and (numbers.min() < _INT32.min or numbers.max() > _INT32.max):
        return numbers
    return cast(Ints, numbers.astype(np.int32))


@dataclass(frozen=True)
class Pieces:
    """What each prompt begins with: that of request i are entries ``offsets[i]`` to ``offsets[i + 1]``.

    Its remaining tokens are in no other prompt. Tokens are equal if stream and position are.
    """

    streams: Ints  # >= 0
    tokens: Ints
    offsets: Ints  # one more than requests

    def __getitem__(self, rows: Rows) -> Self:
        """Return the pieces of the requests that ``rows`` selects."""
        rows = np.arange(len(self.offsets) - 1)[rows]
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return replace(self, streams=self.streams[entries], tokens=self.tokens[entries], offsets=offsets)


@dataclass(frozen=True)
class TrafficColumns:
    """One entry a request in every column; an optional column is None where nothing is known of it."""

    arrival_s: Floats  # NaN: later turn of a session, which arrives when it does
    prompt_tokens: Ints
    output_tokens: Ints
    patience_s: Floats | None = None  # NaN: never gives up
    prefix_id: Ints | None = None  # >= 0, or -1 for none
    prefix_tokens: Ints | None = None  # 0 where there is no prefix
    hash_ids: Pieces | None = None
    hash_runs: Pieces | None = None
    session: Ints | None = None  # >= 0, or -1 for none; rows of one session are in order
    think_s: Floats | None = None  # after the end of the session's row before; NaN: comes at arrival_s
    new_tokens: Ints | None = None  # last tokens of the prompt; those before them are the session so far
    # Sessions whose start is to be drawn, numbered from 0 up: the one that arrival_s counts from. None: all
    # arrival times are on one clock.
    counted_from: Ints | None = None
    # Graphs of agents: a number of each request's own, those of the requests whose answers it waits for, as
    # ``Pieces.streams``, and that of the one whose prompt and answer its own begins with, -1 for none.
    node: Ints | None = None
    after: Pieces | None = None
    continues: Ints | None = None
    # Fields of ``Request``, by name, that only have to be carried to it.
    carried: Mapping[str, Ints | Floats] = field(default_factory=dict)
    model_names: Sequence[str] = ()  # that ``carried["model"]`` are the numbers of

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.prompt_tokens)

    def pick(self, rows: Rows) -> Self:
        """Return the requests that ``rows`` selects: a slice, one mark a request, or their numbers."""
        columns = {name: column[rows] for name, column in self._own().items()}
        return replace(self, **columns, carried={name: each[rows] for name, each in self.carried.items()})

    def optional(self) -> list[str]:
        """Return the names of the optional columns that are there."""
        own = [name for name in self._own() if name not in (*_REQUIRED, *_INNER)]
        return [*self.carried, *own]

    def carrying(self, **columns: Ints | Floats) -> Self:
        """Return the same requests with more fields of ``Request``."""
        return replace(self, carried={**self.carried, **columns})

    def leave_s(self) -> Floats | None:
        """Return when clients give up, on the clock of the arrivals; NaN for never."""
        return None if self.patience_s is None else self.arrival_s + self.patience_s

    def first_of_session(self) -> Ints:
        """Return for each request the number of its session's first one; for one without a session its own."""
        own = np.arange(len(self))
        if self.session is None:
            return own
        _, first, group = np.unique(self.session, return_index=True, return_inverse=True)
        return np.where(self.session < 0, own, first[group])

    def segments(self) -> Sequence[Segments] | None:
        """Return what prompts consist of, made when it is asked for; None if no two have anything in common.

        Shared streams are numbered from 0 up; -1 - i is the own stream of request i.
        """
        prompts = self.prompt_tokens
        pieces = self.hash_ids if self.hash_ids is not None else self.hash_runs
        begin = None
        if pieces is not None:
            begin = segments.Begun(prompts, pieces.streams, pieces.tokens, pieces.offsets)
            if self.new_tokens is None:
                return begin
        elif self.prefix_id is not None and self.prefix_tokens is not None:
            begin = segments.Begun(prompts, self.prefix_id, self.prefix_tokens, np.arange(len(self) + 1))
        if self.new_tokens is not None and self.session is not None:
            return segments.Repeating(self.session, prompts, self.new_tokens, begin, graph.continued(self))
        return begin

    def freeze(self) -> None:
        """Make the columns read-only, so that a ``Workload`` need not copy them."""
        for column in (*self._own().values(), *self.carried.values()):
            if isinstance(column, np.ndarray):
                column.flags.writeable = False

    def output_stream(self) -> Ints:
        """Return the stream of each answer, which is that of what a prompt shares with no other."""
        return -1 - np.arange(len(self), dtype=np.int64)

    def _own(self) -> dict[str, Any]:
        """Return the columns that are there, but for those that are carried."""
        columns = {name: getattr(self, name) for name in _columns()}
        return {name: column for name, column in columns.items() if column is not None}


def _columns() -> list[str]:
    """Return the names of the columns that are not carried."""
    return [each.name for each in fields(TrafficColumns) if each.name not in ("carried", "model_names")]


class Parts:
    """Columns, or pieces of them, that come in one after another and are held once."""

    def __init__(self) -> None:
        self._arrays: dict[str, _Growing] = {}
        self._pieces: dict[str, Parts] = {}
        self._carried: Parts | None = None

    def add(self, **columns: Any) -> None:
        """Add arrays or ``Pieces`` to the columns of these names; None is nothing."""
        for name, column in columns.items():
            if isinstance(column, Pieces):
                parts = self._pieces.setdefault(name, Parts())
                begun = parts.length_of("streams")
                offsets = column.offsets if begun is None else column.offsets[1:] + begun
                parts.add(streams=column.streams, tokens=column.tokens, offsets=offsets)
            elif name in self._arrays:
                self._arrays[name].add(column)
            elif column is not None:
                self._arrays[name] = _Growing(column)

    def length_of(self, name: str) -> int | None:
        """Return how many entries a column has by now; None if there is nothing of it."""
        return self._arrays[name].length if name in self._arrays else None

    def add_columns(self, columns: TrafficColumns) -> None:
        """Add all columns that are there."""
        self.add(**{name: getattr(columns, name) for name in _columns()})
        self._carried = self._carried or Parts()
        self._carried.add(**columns.carried)

    def take(self, name: str) -> Any:
        """Return a whole column and let go of it; None if there is nothing of it."""
        if name in self._pieces:
            parts = self._pieces.pop(name)
            return Pieces(parts.take("streams"), parts.take("tokens"), parts.take("offsets"))
        return self._arrays.pop(name).whole() if name in self._arrays else None

    def columns(self) -> TrafficColumns:
        """Return all that was added as columns."""
        carried = self._carried or Parts()
        return TrafficColumns(
            **{name: self.take(name) for name in _columns()},
            carried={name: carried.take(name) for name in carried.names()},
        )

    def names(self) -> list[str]:
        """Return the names of the arrays that there is something of."""
        return list(self._arrays)


class _Growing:
    """An array with room behind its end, which costs no memory before it is written to."""

    def __init__(self, first: NDArray[Any]) -> None:
        self.length = len(first)
        self._array = first

    def add(self, part: NDArray[Any]) -> None:
        """Copy a part behind what is there."""
        end = self.length + len(part)
        dtype = np.promote_types(self._array.dtype, part.dtype)
        if end > len(self._array) or dtype != self._array.dtype:
            roomy = np.empty(max(end, 2 * len(self._array)), dtype)
            roomy[: self.length] = self._array[: self.length]
            self._array = roomy
        self._array[self.length : end] = part
        self.length = end

    def whole(self) -> NDArray[Any]:
        """Return all of it, giving the room behind it back."""
        if len(self._array) > self.length:
            self._array.resize(self.length, refcheck=False)
        return self._array
