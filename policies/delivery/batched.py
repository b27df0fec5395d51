"""Batched: the first token at once, the later ones several at a time."""

from dataclasses import dataclass

import numpy as np

from policies.delivery._rows import rows
from simulator.policy import Floats, Ints


@dataclass(frozen=True)
class Batched:
    """After the first token, ``tokens`` are sent together when the last of them is there.

    What is left at the end is sent with the last token. Fewer messages, and a reader who gets text in
    pieces. Source: vLLM's option stream_interval.
    """

    tokens: int = 8  # sent together

    def deliver(self, generated_s: Floats, starts: Ints, rng: np.random.Generator) -> Floats:
        """Return for each token the time at which the last one of its piece was generated."""
        n = len(generated_s)
        row = rows(starts, n)
        last = np.append(starts[1:], n)[row] - 1
        place = np.arange(n) - starts[row]
        piece_end = starts[row] - (-place // self.tokens) * self.tokens
        pieces: Floats = generated_s[np.minimum(piece_end, last)]
        return pieces
