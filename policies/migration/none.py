"""No migration: a request stays where it was routed to."""

import math
from collections.abc import Sequence

from simulator.policy import Move, ReplicaView


class Stay:
    """Move no request."""

    interval_s = math.inf

    def moves(self, replicas: Sequence[ReplicaView], now_s: float) -> list[Move]:
        """Return no moves."""
        return []
