"""The seams of a mixture of experts: how often tokens pick each expert, and which GPU holds which."""

from abc import ABC, abstractmethod

import numpy as np

from simulator.arrays import Floats, Ints


class ExpertLoad(ABC):
    """Says how tokens spread over experts: one file, one method."""

    @abstractmethod
    def shares(self, layers: int, experts: int, rng: "np.random.Generator") -> Floats:
        """Return how often each expert of each layer is picked, ``layers`` x ``experts``, in any unit, none below 0.

        ``rng`` is a stream of its own, asked once before a run.
        """


class ExpertPlacement(ABC):
    """Says which GPU holds which experts, copies of them included: one file, one method."""

    num_redundant_experts: int = 0  # places of a layer beside one for each expert

    @abstractmethod
    def place(self, load: Floats, gpus: int) -> Ints:
        """Return the expert in each place of each GPU, of one layer, ``gpus`` x places; ``load`` is of each expert.

        Each expert has at least one place. Its tokens are divided evenly among its places.
        """
