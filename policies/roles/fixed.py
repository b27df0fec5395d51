"""Fixed roles: the ratio of prefill to decode replicas stays as it was set up."""

import math
from collections.abc import Sequence

from simulator.policy import ReplicaView


class Fixed:
    """Switch no replica."""

    interval_s = math.inf

    def switch(
        self, prefill: Sequence[ReplicaView], decode: Sequence[ReplicaView], now_s: float
    ) -> ReplicaView | None:
        """Return no replica."""
        return None
