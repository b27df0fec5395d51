"""The seam of delivery policies: when generated tokens are handed to their readers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Delivery(Protocol):
    """Decides when generated tokens are handed to their readers."""

    def deliver(
        self, generated_s: NDArray[np.float64], starts: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the time at which each token is delivered, never before it was generated.

        The tokens of a request are in order, those of request k begin at ``starts[k]``; ``rng`` is a
        stream of its own.
        """
        ...
