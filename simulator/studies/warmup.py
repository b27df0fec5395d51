"""Where warm-up ends: a simulation starts empty, and its first requests see a system that no other will."""

import numpy as np
from numpy.typing import ArrayLike

BATCH = 5


def mser5(series: ArrayLike) -> int | None:
    """Return how many first values of one run, f64[n], to leave out; None if half of it would not be enough.

    MSER-5: of the means of batches of 5, cut those whose absence makes the standard error of the rest least
    (White, An effective truncation heuristic for bias reduction in simulation output, Simulation 69(6), 1997;
    White, Cobb and Spratt, A comparison of five steady-state truncation heuristics, WSC 2000). A least value
    in the second half says that the run is too short to tell, or that it never settles.
    """
    values = np.asarray(series, dtype=np.float64)
    batches = len(values) // BATCH
    if batches < 4:
        return None
    means = values[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    means = means - means.mean()  # squares of what is left lose no digits
    left = np.arange(batches, 0, -1)
    total, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    error = (squares - total**2 / left) / left**2
    last = batches - batches // 4  # a few batches are alike by luck
    cut = int(np.argmin(error[:last]))
    return cut * BATCH if cut <= batches // 2 else None
