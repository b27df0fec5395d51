"""Jitter: a network that delays every token a little differently."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from policies.delivery._rows import rows, running_max
from simulator.policy import Floats, Ints


@dataclass(frozen=True)
class Jitter:
    """Every token takes ``delay_s`` and a random time of mean ``jitter_s``, and none overtakes another.

    A token that is late holds up those behind it, as on one TCP connection. The random part is
    exponential, or log-normal, whose tail is heavier.
    """

    delay_s: float = 0.0  # that every token takes, s
    jitter_s: float = 0.02  # mean of the random part, s
    distribution: Literal["exponential", "lognormal"] = "exponential"  # of the random part
    sigma: float = 1.0  # shape of the log-normal: standard deviation of the logarithm

    def deliver(self, generated_s: Floats, starts: Ints, rng: np.random.Generator) -> Floats:
        """Return each token's time of arrival at its reader."""
        n = len(generated_s)
        if self.distribution == "exponential":
            random_s = rng.exponential(self.jitter_s, n)
        else:
            random_s = self.jitter_s * rng.lognormal(-0.5 * self.sigma**2, self.sigma, n)
        return running_max(generated_s + (self.delay_s + random_s), rows(starts, n))
