"""Traffic on its way to a ``Workload``: what a trace or a generator says of every request, column by column."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Segments = tuple[tuple[int, int], ...]  # what a prompt consists of: (stream, tokens) one after another


@dataclass(frozen=True)
class BlockIds:
    """A list of ids for each request: those of request i are ``ids[offsets[i]:offsets[i + 1]]``."""

    ids: Ints
    offsets: Ints  # one more than requests
    block_tokens: int

    def __getitem__(self, rows: NDArray[np.bool_]) -> Self:
        """Return the lists of the requests that ``rows`` marks."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths[rows])])
        return replace(self, ids=self.ids[np.repeat(rows, lengths)], offsets=offsets)


@dataclass(frozen=True)
class Columns:
    """One entry a request in every column; an optional column is None where nothing is known of it."""

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    priority: Ints | None = None
    patience_s: Floats | None = None  # NaN: never gives up
    prefix_id: Ints | None = None  # >= 0, or -1 for none
    prefix_tokens: Ints | None = None  # 0 where there is no prefix
    hash_ids: BlockIds | None = None

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.arrival_s)

    def pick(self, rows: slice | NDArray[np.bool_]) -> Self:
        """Return the requests that ``rows`` selects."""
        if isinstance(rows, slice) and self.hash_ids is not None:
            marked = np.zeros(len(self), np.bool_)
            marked[rows] = True
            rows = marked
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})

    def optional(self) -> list[str]:
        """Return the names of the optional columns that are there."""
        return [field.name for field in fields(self)[3:] if getattr(self, field.name) is not None]

    def leave_s(self) -> Floats | None:
        """Return when clients give up, on the clock of the arrivals; NaN for never."""
        return None if self.patience_s is None else self.arrival_s + self.patience_s

    def segments(self) -> list[Segments] | None:
        """Return what prompts consist of; None if no two have anything in common.

        Shared streams are numbered from 0 up, as their ids are; -1 - i is the own stream of request i.
        """
        if self.hash_ids is not None:
            prompts = self.prompt_tokens.tolist()
            size = self.hash_ids.block_tokens
            bounds, ids = self.hash_ids.offsets.tolist(), self.hash_ids.ids.tolist()
            return [
                (
                    *((stream, size) for stream in ids[first : last - 1]),
                    (ids[last - 1], prompt - (last - 1 - first) * size),
                )
                for prompt, first, last in zip(prompts, bounds[:-1], bounds[1:], strict=True)
            ]
        if self.prefix_id is None or self.prefix_tokens is None:
            return None
        prompts = self.prompt_tokens.tolist()
        shared = zip(prompts, self.prefix_id.tolist(), self.prefix_tokens.tolist(), strict=True)
        return [
            tuple(part for part in ((stream, tokens), (-1 - i, prompt - tokens)) if part[1])
            for i, (prompt, stream, tokens) in enumerate(shared)
        ]

    def output_stream(self) -> Ints:
        """Return the stream of each answer, which is that of what a prompt shares with nobody."""
        return -1 - np.arange(len(self), dtype=np.int64)
