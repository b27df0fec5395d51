"""Named random streams: one seed, one independent generator per name.

Adding a stream never shifts another, so two policies compared on one seed see the same traffic
(common random numbers).
"""

import random
import zlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator of the stream ``name`` under ``seed``; equal arguments give equal numbers."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(name.encode()),)))


def draws(seed: int, name: str) -> random.Random:
    """Return the same for draws one at a time, which plain Python does faster."""
    return random.Random(int(stream(seed, name).integers(2**63)))
