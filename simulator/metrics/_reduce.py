"""What metrics make of tokens: one value a request, or the pool of one value a token.

A function marked ``per_request`` or ``pooled`` is written for the whole columns of a log, and called so. It is
computed part by part, whole requests at a time, so it must treat each request by itself. What it returned is
kept with the log, and ``reduce`` computes many in one pass: a log whose tokens are unfolded part by part
unfolds each part once.

It sees of the user only when tokens are due (``Reading``), which is all that what was kept depends on.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import numpy as np

from simulator.arrays import Floats
from simulator.metrics._compact import CompactColumn
from simulator.metrics._options import Reader, Reading
from simulator.metrics._pool import ValuePool

if TYPE_CHECKING:
    from simulator.metrics._log import RequestLog

P = ParamSpec("P")
KeptReadings = dict[tuple[str, Reading | None], Any]  # what marked functions returned, by their names


class Marked:
    """A marked function; calling it answers from what the log keeps."""

    def __init__(self, compute: Callable[..., Floats], pools: bool) -> None:
        """``compute(log)`` or ``compute(log, reading)`` returns f64[requests], or values to be pooled."""
        wraps(compute)(self)
        self.compute = compute
        self.name = f"{compute.__module__.rpartition('.')[2].lstrip('_')}.{compute.__name__}"
        self.pools = pools
        self.of_user = len(signature(compute).parameters) > 1

    def __call__(self, log: "RequestLog", user: Reader | None = None) -> Any:
        """Return f64[requests], read-only, or a ``Pool``."""
        reading = user.reading if self.of_user and user is not None else None
        if (self.name, reading) not in log.kept:
            reduce(log, [self], reading)
        found = log.kept[self.name, reading]
        return found.whole() if isinstance(found, CompactColumn) else found


def per_request(
    compute: "Callable[Concatenate[RequestLog, P], Floats]",
) -> "Callable[Concatenate[RequestLog, P], Floats]":
    """Mark a function of a log (and a reading) that returns one value for each request, f64[n]."""
    return cast("Callable[Concatenate[RequestLog, P], Floats]", Marked(compute, pools=False))


def pooled(
    compute: "Callable[Concatenate[RequestLog, P], Floats]",
) -> "Callable[Concatenate[RequestLog, P], ValuePool]":
    """Mark a function of a log (and a reading) whose values, any number a request, are to be pooled."""
    return cast("Callable[Concatenate[RequestLog, P], ValuePool]", Marked(compute, pools=True))


class Reduction:
    """Marked functions of a log whose parts come one after another."""

    def __init__(
        self, functions: Collection[Marked], reading: Reading | None, pools: Callable[[], ValuePool]
    ) -> None:
        """``pools`` makes those that values are pooled in."""
        self._keys = {each: (each.name, reading if each.of_user else None) for each in functions}
        self._rows: dict[Marked, list[Floats]] = {each: [] for each in functions if not each.pools}
        self._pools = {each: pools() for each in functions if each.pools}
        self._reading = reading

    def add(self, part: "RequestLog") -> None:
        """Compute them of the next part."""
        for each, key in self._keys.items():
            if key in part.kept:  # as another function has asked for it
                values = part.kept[key]
            else:
                values = each.compute(part, self._reading) if each.of_user else each.compute(part)
            if each.pools:
                self._pools[each].add(values)
            else:
                self._rows[each].append(values)

    def found(self) -> KeptReadings:
        """Return what they are of all parts."""
        found: KeptReadings = {}
        for each, rows in self._rows.items():
            column = rows[0] if len(rows) == 1 else np.concatenate(rows)
            column.flags.writeable = False
            found[self._keys[each]] = column
        for pool in self._pools.values():
            pool.settle()
        return found | {self._keys[each]: pool for each, pool in self._pools.items()}


class CompactReduction(Reduction):
    """One whose values a request are kept in as little room as holds them."""

    def __init__(self, functions: Collection[Marked], reading: Reading | None) -> None:
        """Pools are sketches."""
        super().__init__(functions, reading, partial(ValuePool, False))
        self._columns = {each: CompactColumn() for each in self._rows}

    def add_known(self, part: "RequestLog", known: Sequence[Floats]) -> None:
        """Compute them of the next part; those that are among the ``known`` columns of it take no room of their own."""
        self.add(part)
        there = {column.tobytes(): column for column in known}
        for each, rows in self._rows.items():
            self._columns[each].add(rows.pop(), there)

    def found(self) -> KeptReadings:
        """Return what they are of all parts."""
        pools = {self._keys[each]: pool for each, pool in self._pools.items()}
        return {self._keys[each]: column for each, column in self._columns.items()} | pools


def reduce(log: "RequestLog", functions: Collection[Marked], reading: Reading | None) -> None:
    """Compute marked functions in a pass over the parts of a log, and keep what they return with it.

    Pools that keep their values take turns in the same memory, each in a pass of its own: what the system has to give
    for the first time takes longer than another pass.
    """
    missing = [each for each in functions if (each.name, reading if each.of_user else None) not in log.kept]
    together, memory = missing, None
    if log.keeps_tokens and (pools := [each for each in missing if each.pools]):
        together = [each for each in missing if each not in pools[1:]]
        memory = np.empty(int(log.token_offsets[-1]))
    for some in [together, *([each] for each in missing if each not in together)] if missing else ():
        reduction = Reduction(some, reading, partial(ValuePool, log.keeps_tokens, memory))
        for part in log.parts():
            reduction.add(part)
        log.kept.update(reduction.found())
