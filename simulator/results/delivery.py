"""The seam of delivery policies: when generated tokens are handed to their readers."""

from typing import Protocol

import numpy as np

from simulator.arrays import Floats, Ints


class Delivery(Protocol):
    """Decides when generated tokens are handed to their readers.

    It may be given the requests of a run some at a time. One with an attribute ``across_requests = True``, whose tokens
    wait for those of other requests, is given all at once.
    """

    def deliver(self, generated_s: Floats, starts: Ints, rng: "np.random.Generator") -> Floats:
        """Return the time at which each token is delivered, never before it was generated.

        The tokens of a request are in order, those of request k begin at ``starts[k]``; ``rng`` is a
        stream of its own.
        """
        ...
