"""Vectorised arithmetic on many short rows stored end to end (one row of tokens per request).

Row ``r`` of ``values`` is ``values[offsets[r]:offsets[r + 1]]``; ``offsets`` has one entry more than there
are rows, ascends, and rows may be empty.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def row_max(values: Floats, offsets: Ints) -> Floats:
    """Return the largest value of each row, f64[rows]; NaN for an empty row."""
    largest = np.full(len(offsets) - 1, np.nan)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    if len(filled):
        # reduceat answers an empty row with its neighbour's value. The starts of the filled rows alone cut
        # the array at the same places, since an empty row takes no room.
        largest[filled] = np.maximum.reduceat(values, offsets[filled])
    return largest


def row_quantile(values: Floats, offsets: Ints, quantile: float) -> Floats:
    """Return a quantile (0..1, interpolated as in np.percentile) of each row; NaN for an empty row."""
    result = np.full(len(offsets) - 1, np.nan)
    for rows, table, counts in _tables(values, offsets):
        table.sort(axis=1)
        position = (counts - 1) * quantile
        below = position.astype(np.int64)
        above = np.minimum(below + 1, counts - 1)
        each = np.arange(len(rows))
        low, high = table[each, below], table[each, above]
        result[rows] = low + (high - low) * (position - below)
    return result


def running_max(values: Floats, offsets: Ints) -> Floats:
    """Return, for every value, the largest value of its row so far (itself included), f64[values]."""
    result = np.empty_like(values)
    for rows, table, counts in _tables(values, offsets):
        np.maximum.accumulate(table, axis=1, out=table)
        columns = np.arange(table.shape[1])
        present = columns < counts[:, None]
        result[(offsets[rows][:, None] + columns)[present]] = table[present]
    return result


def _tables(values: Floats, offsets: Ints) -> Iterator[tuple[Ints, Floats, Ints]]:
    """Yield (row numbers, table of their values padded with inf at the end, row lengths).

    Rows whose lengths round up to the same power of two share a table: at most 2x padding, and a
    number of tables that grows with the logarithm of the longest row.
    """
    counts = np.diff(offsets)
    width_bits = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    width_bits[counts == 0] = -1
    for bits in np.unique(width_bits[counts > 0]):
        rows = np.flatnonzero(width_bits == bits)
        width = int(counts[rows].max())
        columns = np.arange(width)
        source = np.minimum(offsets[rows][:, None] + columns, len(values) - 1)
        table = np.where(columns < counts[rows][:, None], values[source], np.inf)
        yield rows, table, counts[rows]
