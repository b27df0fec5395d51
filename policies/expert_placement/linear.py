"""Linear: the first GPU holds the first experts of each layer, the next the following ones."""

import numpy as np

from simulator.policy import ExpertPlacement, Floats, Ints


class Linear(ExpertPlacement):
    """vLLM's ``--expert-placement-strategy linear``, its default."""

    def place(self, load: Floats, gpus: int) -> Ints:
        """Return the experts in their order."""
        return np.arange(len(load)).reshape(gpus, -1)
