"""Queue length: more replicas when requests queue, one less when none has queued for a while."""

import math
from dataclasses import dataclass, field

from simulator.policy import PoolView


@dataclass
class QueueLength:
    """As many replicas as there are queued requests over ``waiting_per_replica``, if that is more than there are.

    One is given back when no request has queued at any look for ``scale_down_delay_s``; the next after as long again.
    Sources: the signal and the way up are those of the vLLM production stack's KEDA example, which scales on
    ``vllm:num_requests_waiting`` over a threshold. That alone would go down to the least as soon as no queue is
    left; the way down is the simple scaling with a cooldown of Amazon EC2 Auto Scaling.
    """

    interval_s: float = 15.0  # seconds between two looks
    waiting_per_replica: float = 5.0  # queued requests, beyond which replicas are added
    scale_down_delay_s: float = 300.0  # without a queue, until one is given back
    _quiet_since_s: float = field(default=math.nan, init=False)  # NaN: a request queued at the last look

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return what the queue asks for, or one less than there are."""
        have = len(pool.replicas) + pool.coming
        waiting = len(pool.unplaced) + sum(each.waiting_requests for each in pool.replicas)
        if waiting or pool.coming:
            self._quiet_since_s = math.nan
            return max(have, math.ceil(waiting / self.waiting_per_replica))
        if math.isnan(self._quiet_since_s):
            self._quiet_since_s = now_s
        if now_s - self._quiet_since_s < self.scale_down_delay_s:
            return have
        self._quiet_since_s = now_s
        return have - 1
