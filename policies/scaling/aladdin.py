"""Aladdin's scaling: the fewest replicas on which best fit places all requests within their bounds."""

from dataclasses import dataclass, field

from policies._packing import PackingBounds, ReplicaBin, fewest
from policies.scaling._steady import Most
from simulator.policy import PoolView


@dataclass
class AladdinScaling:
    """At each heartbeat all unfinished requests are packed anew, as if none had a place yet.

    A bin keeps TTFT, ATGT and KV memory at the predicted ends, as the router ``aladdin`` has it. Source: Nie et al.,
    "Aladdin", arXiv 2405.06856; the delay before replicas are given back is ours.
    """

    ttft_s: float = 0.0  # bound, s; 0: the time of a prompt of ``context_tokens``
    atgt_s: float = 0.0  # bound on the mean time of a token after the first, s; 0: by ``atgt_factor``
    context_tokens: int = 4096  # of a full context
    atgt_factor: float = 1.3  # times the decode step of a request alone
    interval_s: float = 15.0  # seconds between two heartbeats
    scale_down_delay_s: float = 300.0  # goes down to the most that was wanted in the last so many seconds
    _bounds: PackingBounds = field(init=False)
    _most: Most = field(init=False)
    _bin: ReplicaBin | None = field(default=None, init=False)  # None: no replica has been seen yet

    def __post_init__(self) -> None:
        """Refuse bounds that no request could keep."""
        self._bounds = PackingBounds(self.ttft_s, self.atgt_s, self.context_tokens, self.atgt_factor)
        self._most = Most(self.scale_down_delay_s)

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return how many bins the present requests take."""
        have = len(pool.replicas) + pool.coming
        if self._bin is None:
            if not pool.replicas:
                return have
            self._bin = ReplicaBin.of(pool.replicas[0], self._bounds)
        jobs = [*pool.unplaced]
        for each in pool.replicas:
            jobs += [*each.running, *each.waiting]
        return self._most.replicas(fewest(self._bin, jobs), have, now_s)
