"""What it comes to that tokens do not pick all experts alike, and which GPU has most of it.

With shares w of a layer's experts and k picks a token, a token picks expert e with the chance q_e = min(1, c·w_e),
c such that they sum to k. N tokens that pick by themselves reach Σ 1 - (1 - q_e)^N experts. Where GPUs hold whole
experts, the tokens of one with r_e places are divided evenly among these: a place gets N·q_e/r_e tokens, and is read
with the chance 1 - (1 - q_e/r_e)^N. A layer takes as long as the GPU that takes longest.

These are expectations: that N tokens by chance load one GPU more than another is left out, which matters for few.
"""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from math import fsum

import numpy as np

from simulator.arrays import Floats, Ints

Chances = tuple[tuple[float, ...], ...]  # of each expert, by layer with experts, or one row for all

_KEPT_ROWS = 64  # sets of chances whose distinct rows are kept


def chances_of(shares: Floats, active: int) -> Chances:
    """Return the chances of picking each expert of each layer; ``shares``: layers x experts, in any unit.

    At least ``active`` of each row are above 0.
    """
    return tuple(tuple(_capped(row, active).tolist()) for row in np.asarray(shares, dtype=np.float64))


def _capped(row: Floats, active: int) -> Floats:
    chances = np.zeros_like(row)
    free = row > 0
    for _ in range(len(row)):  # each round caps one expert at least, or is the last
        left = active - chances[~free].sum()
        scaled = row * left / fsum(row[free]) if free.any() else row  # equal for rows in any order
        over = free & (scaled > 1)
        if not over.any():
            return np.where(free, scaled, chances)
        chances[over] = 1.0
        free &= ~over
    return chances


def reached(chances: Chances, tokens: float) -> float:
    """Return how many different experts of a layer so many tokens are expected to pick, the mean over layers."""
    rows, weights = _distinct(chances)
    return float(weights @ (1 - rows**tokens).sum(axis=1))


@lru_cache(maxsize=_KEPT_ROWS)
def _distinct(chances: Chances) -> tuple[Floats, Floats]:
    """Return the chances of not being picked, of layers that differ but in the order, and how many have each."""
    rows = Counter(tuple(sorted(row)) for row in chances)
    weights = np.array(list(rows.values()), dtype=np.float64) / len(chances)
    return 1 - np.array(list(rows)), weights


class ExpertSpread:
    """Whole experts on GPUs: what so many tokens bring each of them, by layer."""

    def __init__(self, chances: Chances, gpus: int, place: Callable[[Floats, int], Ints]) -> None:
        """``place``: of the load of each expert and the number of GPUs, the expert in each place of each GPU."""
        by_place = []
        for row in map(np.array, chances):
            placed = place(row, gpus)
            copies = np.bincount(placed.ravel(), minlength=len(row))
            by_place.append((row / copies)[placed])
        self._chances = np.stack(by_place)  # layers x GPUs x places
        self._share = self._chances.sum(axis=2) / self._chances.sum(axis=(1, 2))[:, None]

    @property
    def imbalance(self) -> float:
        """What the most loaded GPU has over the mean, the mean over layers: 1 is balanced."""
        return float(self._share.max(axis=1).mean() * self._share.shape[1])

    def at(self, tokens: int) -> tuple[Floats, Floats]:
        """Return tokens' worth of picks and places read of each GPU in each layer, layers x GPUs."""
        return tokens * self._share, (1 - (1 - self._chances) ** tokens).sum(axis=2)
