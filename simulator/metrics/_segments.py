"""Vectorised arithmetic on many short rows stored end to end (one row of tokens per request).

Row ``r`` of ``values`` is ``values[offsets[r]:offsets[r + 1]]``; ``offsets`` has one entry more than there
are rows, ascends, and rows may be empty.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Floats, Ints

PART = 1 << 17  # values that are looked at at once: what a processor's cache holds


def cut(offsets: Ints) -> Ints:
    """Return where to cut the rows into parts of whole rows with at most PART values or one row each.

    Part ``p`` are the rows ``bounds[p] .. bounds[p + 1]``; there is at least one, and none has more than PART
    rows. A run is cut the same way wherever it is looked at, so that sums are the same to the last bit.
    """
    bounds, n = [0], len(offsets) - 1
    while bounds[-1] < n:
        start = bounds[-1]
        stop = int(np.searchsorted(offsets, offsets[start] + PART, side="right")) - 1
        bounds.append(min(max(stop, start + 1), start + PART, n))
    return np.array(bounds if n else [0, 0], np.int64)


def row_max(values: Floats, offsets: Ints) -> Floats:
    """Return the largest value of each row, f64[rows]; NaN for an empty row."""
    largest = np.full(len(offsets) - 1, np.nan)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    if len(filled):
        # reduceat answers an empty row with its neighbour's value. The starts of the filled rows alone cut
        # the array at the same places, since an empty row takes no room.
        largest[filled] = np.maximum.reduceat(values, offsets[filled])
    return largest


def row_sum(values: NDArray[Any], offsets: Ints) -> Floats:
    """Return the sum of each row of booleans or whole numbers, f64[rows]; 0 for an empty row."""
    sums = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    if len(filled):
        sums[filled] = np.add.reduceat(values, offsets[filled], dtype=np.int64)
    return sums


def ordered_rows(values: Floats, offsets: Ints) -> Floats:
    """Return the values with each row in ascending order."""
    ordered = values.copy()
    for row in _longer_rows(ordered, offsets):
        row.sort()
    return ordered


def row_quantile(ordered: Floats, offsets: Ints, quantile: float) -> Floats:
    """Return a quantile (0..1, interpolated as in np.percentile) of each ordered row; NaN for an empty row."""
    result = np.full(len(offsets) - 1, np.nan)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    last = (offsets[1:] - offsets[:-1])[filled] - 1
    position = last * quantile
    below = position.astype(np.int64)
    first = offsets[filled]
    low, high = ordered[first + below], ordered[first + np.minimum(below + 1, last)]
    result[filled] = low + (high - low) * (position - below)
    return result


def running_max(values: Floats, offsets: Ints) -> Floats:
    """Return, for every value, the largest value of its row so far (itself included), f64[values]."""
    result = values.copy()
    for row in _longer_rows(result, offsets):
        np.maximum.accumulate(row, out=row)
    return result


def _longer_rows(values: Floats, offsets: Ints) -> Iterator[Floats]:
    """Yield the rows of two values and more, to be changed in place.

    One at a time: most rows are long enough for that to be several times faster than tables padded to the
    same length.
    """
    rows = np.flatnonzero(offsets[1:] > offsets[:-1] + 1)
    for start, stop in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True):
        yield values[start:stop]
