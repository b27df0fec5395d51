"""Steps that vary: each takes what it is expected to, times a random factor with mean 1."""

from math import log, sqrt
from random import Random

from simulator.replica.cost import CostModel, StepShape


class JitteredCost:
    """A cost model whose steps vary around their price by a log-normal factor; policies are told the price.

    It has no ``decode_piece``: how long steps to come take is not known beforehand.
    """

    varies = True

    def __init__(self, cost: CostModel, variation: float, draw: Random) -> None:
        """``variation`` is the standard deviation of the factor."""
        self.cost = cost
        self._draw = draw
        variance = log(1 + variation * variation)
        self._mu, self._sigma = -0.5 * variance, sqrt(variance)

    def step_s(self, shape: StepShape) -> float:
        """Return how long the next step takes; each call draws anew."""
        return self.cost.step_s(shape) * self._draw.lognormvariate(self._mu, self._sigma)

    def expected_s(self, shape: StepShape) -> float:
        """Return how long such a step takes on the average."""
        return self.cost.step_s(shape)
