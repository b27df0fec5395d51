"""The log of some requests of a run, such as those of one class, over the same window."""

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._log import OF_READERS, RequestLog
from simulator.metrics._pool import ValuePool
from simulator.metrics._reduce import KeptReadings
from simulator.metrics._streamed import StreamedLog, TokenParts

_BY_REQUEST = ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s", *OF_READERS)


class PickedParts(NamedTuple):
    """The tokens of some of the requests of a source, part by part."""

    source: TokenParts
    rows: Flags  # which, of all requests of the source

    @property
    def bounds(self) -> Ints:
        """As ``TokenParts``."""
        return np.concatenate([[0], np.cumsum(self.rows)])[self.source.bounds]

    @property
    def offsets(self) -> Ints:
        """As ``TokenParts``."""
        return np.concatenate([[0], np.cumsum(np.diff(self.source.offsets)[self.rows])])

    def part_delivered_s(self, part: int) -> Floats:
        """As ``TokenParts``."""
        requests = slice(*self.source.bounds[part : part + 2].tolist())
        counts = np.diff(self.source.offsets)[requests]
        return self.source.part_delivered_s(part)[np.repeat(self.rows[requests], counts)]


def picked(log: RequestLog, rows: Flags, pools: KeptReadings) -> RequestLog:
    """Return the log of the requests that ``rows`` (bool[n]) marks; ``log`` is of a whole run.

    ``pools`` are theirs of all their tokens, where the run was saved without them.
    """
    counts = np.diff(log.token_offsets)
    columns: dict[str, Any] = {
        name: None if (column := getattr(log, name)) is None else column[rows] for name in _BY_REQUEST
    }
    offsets = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    if not isinstance(log, StreamedLog):
        own = np.repeat(rows, counts)
        return replace(log, **columns, token_offsets=offsets, delivered_s=log.delivered_s[own])
    others = {each.name: getattr(log, each.name) for each in fields(RequestLog) if each.name != "delivered_s"}
    return StreamedLog(
        **{**others, **columns, "token_offsets": offsets},
        first_s=log.first_s[rows],
        last_s=log.last_s[rows],
        source=None if log.source is None else PickedParts(log.source, rows),
        saved=pools
        | {key: value[rows] for key, value in log.kept.items() if not isinstance(value, ValuePool)},
    )
