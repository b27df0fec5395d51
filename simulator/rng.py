"""Named random streams: one seed, one independent generator per name.

Adding a stream never shifts another, so two policies compared on one seed see the same traffic
(common random numbers). numpy's generators, which take longer to import than a short run to simulate, are looked for
when the first number is drawn.
"""

import random
import zlib
from typing import Any

import numpy as np


def stream(seed: int, name: str) -> "np.random.Generator":
    """Return the generator of the stream ``name`` under ``seed``; equal arguments give equal numbers."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(name.encode()),)))


def draws(seed: int, name: str) -> random.Random:
    """Return the same for draws one at a time, which plain Python does faster."""
    return _Draws(seed, name)


class _Draws(random.Random):
    """Is seeded when the first number is drawn, as most policies draw none."""

    def __new__(cls, seed: int, name: str) -> "_Draws":
        return super().__new__(cls)

    def __init__(self, seed: int, name: str) -> None:
        super().__init__(0)
        self._of: tuple[int, str] | None = (seed, name)  # None: has begun

    def __reduce__(self) -> tuple[Any, ...]:
        return random.Random, (), self.getstate()

    def random(self) -> float:
        self._begin()
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        self._begin()
        return super().getrandbits(k)

    def getstate(self) -> tuple[Any, ...]:
        self._begin()
        return super().getstate()

    def setstate(self, state: tuple[Any, ...]) -> None:
        self._of = None
        super().setstate(state)

    def seed(self, a: Any = None, version: int = 2) -> None:
        self._of = None
        super().seed(a, version)

    def _begin(self) -> None:
        if self._of is not None:
            self.seed(int(stream(*self._of).integers(2**63)))
