"""A column of numbers in as little room as holds them without loss."""

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Floats


class CompactColumn:
    """f64[n] that comes in parts: of one number, of numbers that single precision holds, or of any."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self._parts: list[NDArray[Any]] = []
        self._stops = [0]  # rows up to each part

    def add(self, values: Floats, known: dict[bytes, NDArray[Any]]) -> None:
        """Add a part; ``known`` are arrays that are kept anyway, by their bytes as float64, to which it is added."""
        values = np.ascontiguousarray(values, np.float64)
        key = values.tobytes()
        if key not in known:
            known[key] = _narrow(values)
        self._parts.append(known[key])
        self._stops.append(self._stops[-1] + len(values))

    def whole(self) -> Floats:
        """Return all of it."""
        return self[:]

    def __getitem__(self, rows: Any) -> Floats:
        """Return some rows; a slice of them, without a step, is made without the others."""
        if not isinstance(rows, slice):
            some: Floats = self[:][rows]
            return some
        first, stop, _ = rows.indices(self._stops[-1])
        low, high = bisect_right(self._stops, first) - 1, bisect_left(self._stops, stop)
        parts = self._parts[low:high]
        if not parts:
            return np.empty(0)
        begins = self._stops[low]
        found: Floats = np.concatenate(parts, dtype=np.float64)[first - begins : stop - begins]
        return found


def _narrow(values: Floats) -> NDArray[Any]:
    bits = values.view(np.int64)
    if len(bits) and (bits == bits[0]).all():
        return np.broadcast_to(values[:1].copy(), len(values))
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return single if np.array_equal(single, values, equal_nan=True) else values
