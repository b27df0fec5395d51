"""Immediate delivery: a token is sent as soon as it is generated."""

import numpy as np

from simulator.policy import Floats, Ints


class Immediate:
    """Hold nothing back."""

    def deliver(self, generated_s: Floats, starts: Ints, rng: "np.random.Generator") -> Floats:
        """Return the times of generation."""
        return generated_s
