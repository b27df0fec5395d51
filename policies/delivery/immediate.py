"""Immediate delivery: a token is sent as soon as it is generated."""

import numpy as np
from numpy.typing import NDArray


class Immediate:
    """Hold nothing back."""

    def deliver(
        self, generated_s: NDArray[np.float64], starts: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the times of generation."""
        return generated_s
