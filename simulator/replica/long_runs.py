"""Runs of many steps in which all running jobs decode, computed at once."""

from math import ceil, inf
from typing import Final

import numpy as np

from simulator.replica.engine import Engine

# Runs from so many steps on are computed at once; the longest bounds what that takes.
LONG_RUN: Final = 80
LONGEST_RUN: Final = 1024


def run_many(
    engine: Engine, start_s: float, until_s: float, pipelined: bool, steps: int
) -> tuple[float, float, int] | None:
    """As ``fast_forward``, for many steps at once: they end at a running sum, whose terms lie on a line.

    ``steps`` are at most to run. Returns the start and the end of the last step, and how many there were. None where
    they turn out to be few, which is faster one by one.
    """
    piece = engine.decode_piece
    if piece is None or until_s <= start_s:
        return None
    steps = min(steps, LONGEST_RUN)
    size, context_tokens = engine.group.size, engine.group.context_tokens()
    _, _, offset, slope = piece(size, context_tokens)
    first_s = offset + slope * context_tokens  # steps only become longer
    if until_s - start_s < first_s * steps:
        steps = min(steps, int((until_s - start_s) / first_s) + 2)
    if steps < LONG_RUN:
        return None
    contexts = context_tokens + size * np.arange(steps)
    lasts_s = np.empty(steps)
    done = 0
    while done < steps:
        _, high, offset, slope = piece(size, context_tokens + size * done)
        stop = steps if high == inf else min(steps, max(done + 1, ceil((high - context_tokens) / size)))
        lasts_s[done:stop] = offset + slope * contexts[done:stop]
        done = stop
    lasts_s[0] += start_s
    ends = np.add.accumulate(lasts_s)
    # Planned before ``until_s`` are the first, and those before which a step ends (pipelined: starts) by then.
    steps = min(steps, 1 + int(np.searchsorted(ends, until_s)) + pipelined)
    engine.records.run_ends.frombytes(ends[:steps].tobytes())
    return float(ends[steps - 2]) if steps > 1 else start_s, float(ends[steps - 1]), steps
