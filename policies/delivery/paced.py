"""Paced: hold tokens back so that they come evenly."""

from dataclasses import dataclass

import numpy as np

from policies.delivery._rows import rows, running_max
from simulator.policy import Floats, Ints


@dataclass(frozen=True)
class Paced:
    """The first token is held for ``hold_s``; each later one follows the one before by ``gap_s`` or more.

    What is held in hand hides later stalls: the time between tokens improves, and no token comes earlier:
    the first flaw in Wang et al., arXiv 2410.14257. With the reader's pace as the gap and no hold it is
    the token buffer of Liu et al., "Andes", arXiv 2404.16283.
    """

    gap_s: float = 0.05  # least time between two tokens of a request, s
    hold_s: float = 0.0  # how long the first token is held back, s

    def deliver(self, generated_s: Floats, starts: Ints, rng: np.random.Generator) -> Floats:
        """Return each token's time: its generation, or the gap after the one before if that is later."""
        row = rows(starts, len(generated_s))
        place_s = self.gap_s * (np.arange(len(generated_s)) - starts[row])  # after the first token, at best
        ready_s = generated_s.copy()
        ready_s[starts] += self.hold_s
        return np.maximum(generated_s, running_max(ready_s - place_s, row) + place_s)
