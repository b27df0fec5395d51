"""Names of the types of arrays, and what numpy does not do as quickly."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[
    np.int64
]  # of traffic also int32, where that holds all values (``simulator.workload.columns.compact``)
Flags = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]  # of a table, by name


def median(values: NDArray[Any]) -> float:
    """Return what ``np.median`` does of some numbers, which imports masked arrays first."""
    ordered = np.sort(values)
    if np.isnan(ordered[-1]):
        return float("nan")
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)
