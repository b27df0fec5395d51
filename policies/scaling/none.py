"""None: a pool keeps the replicas that it began with."""

import math

from simulator.policy import PoolView


class Nothing:
    """Order and release no replica."""

    interval_s = math.inf

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return as many as there are."""
        return len(pool.replicas) + pool.coming
