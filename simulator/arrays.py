"""Names of the types of arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[
    np.int64
]  # of traffic also int32, where that holds all values (``simulator.workload.columns.compact``)
Flags = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]  # of a table, by name
