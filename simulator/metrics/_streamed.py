"""Logs without all their tokens: those too many to be kept, and those of which only the measures were saved."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.metrics._log import RequestLog
from simulator.metrics._pool import ValuePool
from simulator.metrics._reduce import KeptReadings

_COLUMNS = [each.name for each in fields(RequestLog) if each.name != "delivered_s"]


class NoTokensError(InputError):
    """A measure needs tokens that are not there."""


class TokenParts(Protocol):
    """Where the tokens of a run can be had, part by part."""

    @property
    def bounds(self) -> Ints:
        """The parts: part ``p`` are the tokens of requests ``bounds[p] .. bounds[p + 1]``."""
        ...

    @property
    def offsets(self) -> Ints:
        """Tokens of all requests before each, i64[requests + 1]."""
        ...

    def part_delivered_s(self, part: int) -> Floats:
        """Return when the tokens of a part were delivered."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedLog(RequestLog):
    """A log whose tokens are only there part by part; ``delivered_s`` and what is made of it raise NoTokensError.

    What is marked ``per_request`` or ``pooled`` is computed in a pass over the parts. ``source`` has them for
    the requests of the whole run, of which these are the ones from ``begins`` on. None: nothing is left but
    what ``kept`` holds.
    """

    delivered_s: Floats = field(init=False, repr=False)
    first_s: Floats  # f64[n], of each request's first token, NaN without one
    last_s: Floats  # and last
    source: TokenParts | None
    begins: int = 0
    saved: KeptReadings = field(default_factory=dict)  # what is there from the beginning

    def __getattr__(self, name: str) -> Any:
        """Say what is missing; asked only for what is not there."""
        if name != "delivered_s":
            raise AttributeError(name)
        raise self._missing()

    @property
    def keeps_tokens(self) -> bool:
        """Not here."""
        return False

    @cached_property
    def first_token_s(self) -> Floats:
        """Absolute time of each request's first token, f64[n]; NaN without one."""
        return self.first_s

    @cached_property
    def last_token_s(self) -> Floats:
        """Absolute time of each request's last delivered token, f64[n]; NaN without one."""
        return self.last_s

    @cached_property
    def kept(self) -> KeptReadings:
        """What marked functions returned for this log."""
        return dict(self.saved)

    def parts(self) -> Iterator[RequestLog]:
        """Yield logs with tokens of all requests, some at a time, in order."""
        source = self.source
        if source is None:
            raise self._missing()
        first = int(np.searchsorted(source.bounds, self.begins, side="right")) - 1
        first = min(first, len(source.bounds) - 2)  # where no requests are left, at the end of all
        last = int(np.searchsorted(source.bounds, self.begins + self.n, side="left"))
        for part in range(first, max(last, first + 1)):
            low, high = source.bounds[part : part + 2].tolist()
            low, high = max(low, self.begins), min(high, self.begins + self.n)
            mine = self.rows(low - self.begins, high - self.begins)
            rows = source.offsets[[low, high]] - source.offsets[source.bounds[part]]
            columns = {name: getattr(mine, name) for name in _COLUMNS}
            delivered_s = source.part_delivered_s(part)[slice(*rows.tolist())]
            yield RequestLog(**columns, delivered_s=delivered_s)

    def _tokens(self) -> int:
        return int(self.token_offsets[-1])

    def _tokens_of(self, first: int, stop: int) -> dict[str, Any]:
        rows = slice(first, stop)
        of_saved = self.source is None  # whose pools are of what a run left out of its measures already
        return {
            "first_s": self.first_s[rows],
            "last_s": self.last_s[rows],
            "begins": self.begins + first,
            "saved": {
                key: value if isinstance(value, ValuePool) else value[rows]
                for key, value in self.kept.items()
                if of_saved or not isinstance(value, ValuePool)
            },
        }

    def _missing(self) -> NoTokensError:
        if self.source is None:
            return NoTokensError(
                "the tokens of this run were not saved; expected a run with trace_level = 'tokens'"
            )
        return NoTokensError(
            f"{self._tokens():,} tokens are too many to be looked at at once; expected functions of a log marked"
            " per_request or pooled (simulator/metrics/_reduce.py)"
        )
