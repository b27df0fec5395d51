"""Zipf: the expert of rank r is picked as often as r^-exponent says, in each layer another one."""

from dataclasses import dataclass

import numpy as np

from simulator.policy import ExpertLoad, Floats

MOST = 10  # exponent


@dataclass
class Zipf(ExpertLoad):
    """Which experts of a layer are the hot ones is drawn once, before a run.

    The shape is an assumption to vary, no measurement: take ``counts`` where the engine can report them.
    """

    exponent: float = (
        0.0  # to be given; 0.2: the hottest of 128 is picked 2 times as often as the mean, 0.5: 6 times
    )

    def __post_init__(self) -> None:
        """Refuse none, and what leaves nothing to all experts but one."""
        if not 0 < self.exponent <= MOST:
            raise ValueError(f"exponent: expected above 0 and at most {MOST}, got {self.exponent or 'none'}")

    def shares(self, layers: int, experts: int, rng: np.random.Generator) -> Floats:
        """Return the shares of each layer in an order of its own."""
        by_rank = np.arange(1, experts + 1) ** -float(self.exponent)
        return np.stack([rng.permutation(by_rank) for _ in range(layers)])
