"""Layout switch: GPUs as few replicas with many each while few requests are there, else as many with few each."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from simulator.errors import InputError
from simulator.policy import PoolView


@dataclass
class LayoutSwitch:
    """Of the pools that share ``cluster.scaling.max_gpus`` one is wanted as large as it may be, and none of the others.

    Which one, the number of unfinished requests says: the more there are, the fewer GPUs a replica has. The old
    replicas drain, and the new ones load the model when there are GPUs for them; until all of them serve there is no
    other switch. Source: the boundary of 64 is ScaleLLM's (Yao et al., arXiv 2408.00008); it publishes neither how it
    switches nor a hysteresis, so ``margin`` and ``delay_s`` are ours.
    """

    from_requests: list[int] = field(default_factory=lambda: [64])  # from which on the next layout is for
    margin: float = 0.25  # share of a boundary by which it has to be passed
    delay_s: float = 10.0  # for which it has to be passed at every look
    interval_s: float = 1.0  # seconds between two looks
    _passed_s: float = field(default=math.nan, init=False)  # since when; NaN: it is not

    def __post_init__(self) -> None:
        """Refuse boundaries that are none."""
        if not self.from_requests or not all(one < two for one, two in pairwise([0, *self.from_requests])):
            raise ValueError(f"from_requests has to ascend from 1 or more; got {self.from_requests}")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin is a share, at least 0 and below 1; got {self.margin}")

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return all replicas that the pool may have, or none; each pool's instance sees and finds the same."""
        pools = sorted([pool, *pool.others], key=lambda each: (-each.gpus, each.name))
        if len(pools) != len(self.from_requests) + 1:
            raise InputError(
                f"policy.scaling: layout_switch: {len(pools)} pools for from_requests = {self.from_requests}; expected"
                f" {len(self.from_requests) + 1} that share cluster.scaling.max_gpus"
            )
        return pool.most if pools[self._layout(pools, now_s)] is pool else 0

    def _layout(self, pools: list[PoolView], now_s: float) -> int:
        """Return which of the pools is to have the GPUs."""
        unfinished = len({job.id for each in pools for job in each.unplaced})
        for each in pools:
            unfinished += sum(replica.outstanding_requests for replica in [*each.replicas, *each.draining])
        best = bisect_right(self.from_requests, unfinished)
        now = next((i for i, each in enumerate(pools) if each.replicas or each.coming), best)
        down = self.from_requests[now - 1] * (1 - self.margin) if now else -math.inf
        up = self.from_requests[now] * (1 + self.margin) if now < len(pools) - 1 else math.inf
        if pools[now].coming or down <= unfinished < up:
            self._passed_s = math.nan
            return now
        if math.isnan(self._passed_s):
            self._passed_s = now_s
        return best if now_s - self._passed_s >= self.delay_s else now
