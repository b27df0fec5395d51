"""Even: every expert is picked as often as any other."""

import numpy as np

from simulator.policy import ExpertLoad, Floats


class Even(ExpertLoad):
    """What the loss that balances experts in training aims at."""

    def shares(self, layers: int, experts: int, rng: "np.random.Generator") -> Floats:
        """Return equal shares."""
        return np.ones((layers, experts))
