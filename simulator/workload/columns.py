"""Traffic on its way to a ``Workload``: what a trace or a generator says of every request, column by column."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from simulator.workload import segments
from simulator.workload.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = slice | NDArray[np.bool_] | NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """What each prompt begins with: that of request i are entries ``offsets[i]`` to ``offsets[i + 1]``.

    Its remaining tokens it shares with nobody. Tokens are equal if stream and position are.
    """

    streams: Ints  # >= 0
    tokens: Ints
    offsets: Ints  # one more than requests

    def __getitem__(self, rows: NDArray[np.int64]) -> Self:
        """Return the pieces of the requests with these numbers, in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return replace(self, streams=self.streams[entries], tokens=self.tokens[entries], offsets=offsets)


@dataclass(frozen=True)
class Columns:
    """One entry a request in every column; an optional column is None where nothing is known of it."""

    arrival_s: Floats  # NaN: later turn of a session, which arrives when it does
    prompt_tokens: Ints
    output_tokens: Ints
    priority: Ints | None = None
    patience_s: Floats | None = None  # NaN: never gives up
    prefix_id: Ints | None = None  # >= 0, or -1 for none
    prefix_tokens: Ints | None = None  # 0 where there is no prefix
    hash_ids: Pieces | None = None
    hash_runs: Pieces | None = None
    tenant: Ints | None = None
    predicted_tokens: Ints | None = None
    session: Ints | None = None  # >= 0, or -1 for none; rows of one session are in order
    think_s: Floats | None = None  # after the end of the session's row before; NaN: comes at arrival_s
    new_tokens: Ints | None = None  # last tokens of the prompt; those before them are the session so far
    # Sessions whose start is to be drawn, numbered from 0 up: the one that arrival_s counts from. None: all
    # arrival times are on one clock.
    counted_from: Ints | None = None

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.prompt_tokens)

    def pick(self, rows: Rows) -> Self:
        """Return the requests that ``rows`` selects: a slice, one mark a request, or their numbers."""
        numbers = np.arange(len(self))[rows]
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: column[numbers] for name, column in columns.items() if column is not None}
        )

    def optional(self) -> list[str]:
        """Return the names of the optional columns that are there."""
        return [field.name for field in fields(self)[3:-1] if getattr(self, field.name) is not None]

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

    def segments(self) -> list[Segments] | None:
        """Return what prompts consist of; None if no two have anything in common.

        Shared streams are numbered from 0 up; -1 - i is the own stream of request i.
        """
        prompts = self.prompt_tokens.tolist()
        pieces = self.hash_ids if self.hash_ids is not None else self.hash_runs
        if pieces is not None:
            bounds = pieces.offsets.tolist()
            return segments.with_rest(prompts, pieces.streams.tolist(), pieces.tokens.tolist(), bounds)
        begin = None
        if self.prefix_id is not None and self.prefix_tokens is not None:
            bounds = list(range(len(self) + 1))
            begin = segments.with_rest(prompts, self.prefix_id.tolist(), self.prefix_tokens.tolist(), bounds)
        if self.new_tokens is not None and self.session is not None:
            return segments.with_history(self.session.tolist(), prompts, self.new_tokens.tolist(), begin)
        return begin

    def output_stream(self) -> Ints:
        """Return the stream of each answer, which is that of what a prompt shares with nobody."""
        return -1 - np.arange(len(self), dtype=np.int64)
