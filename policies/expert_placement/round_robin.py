"""Round robin: expert e is on GPU e modulo the number of GPUs."""

import numpy as np

from simulator.policy import ExpertPlacement, Floats, Ints


class ExpertsInTurn(ExpertPlacement):
    """vLLM's ``--expert-placement-strategy round_robin``, for models whose experts are grouped."""

    def place(self, load: Floats, gpus: int) -> Ints:
        """Return every so-manieth expert for each GPU."""
        return np.arange(len(load)).reshape(-1, gpus).T
