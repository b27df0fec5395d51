"""What metrics make of tokens: one value a request, or the pool of one value a token.

A function marked ``per_request`` or ``pooled`` is written for the whole columns of a log, and called so. It is
computed part by part, whole requests at a time, so it must treat each request by itself. What it returned is
kept with the log, and ``reduce`` computes many in one pass: a log whose tokens are unfolded part by part
unfolds each part once.

It sees of the user only when tokens are due (``Reading``), which is all that what was kept depends on.
"""

from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import numpy as np

from simulator.arrays import Floats
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
        return log.kept[self.name, reading]


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


def reduce(log: "RequestLog", functions: Collection[Marked], reading: Reading | None) -> None:
    """Compute marked functions in one pass over the parts of a log, and keep what they return with it."""
    keys = {each: (each.name, reading if each.of_user else None) for each in functions}
    missing = [each for each, key in keys.items() if key not in log.kept]
    rows: dict[Marked, list[Floats]] = {each: [] for each in missing if not each.pools}
    tokens = int(log.token_offsets[-1])
    pools = {each: ValuePool(log.keeps_tokens, tokens) for each in missing if each.pools}
    for part in log.parts() if missing else ():
        for each in missing:
            if keys[each] in part.kept:  # as another function has asked for it
                values = part.kept[keys[each]]
            else:
                values = each.compute(part, reading) if each.of_user else each.compute(part)
            if each.pools:
                pools[each].add(values)
            else:
                rows[each].append(values)
    for each, found in rows.items():
        column = found[0] if len(found) == 1 else np.concatenate(found)
        column.flags.writeable = False
        log.kept[keys[each]] = column
    for each, pool in pools.items():
        log.kept[keys[each]] = pool
