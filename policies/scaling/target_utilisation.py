"""Target utilisation: as many replicas as keep their KV caches filled to a share of what they hold."""

from dataclasses import dataclass, field

from policies.scaling._steady import Most, within
from simulator.policy import PoolView, check_share


@dataclass
class TargetUtilisation:
    """Utilisation is the known tokens of all unfinished requests, queued ones too, over those that KV caches hold.

    With a queue it goes beyond 1, and so says how much is missing. Sources: the rule is that of Kubernetes'
    HorizontalPodAutoscaler, with its defaults; the signal is that of AIBrix (arXiv 2504.03648), the share of the
    KV cache in use, to which the queue is added.
    """

    utilisation: float = 0.5  # share of the KV caches that unfinished requests are to fill
    interval_s: float = 15.0  # seconds between two looks
    tolerance: float = 0.1  # relative distance from the target within which nothing changes
    scale_down_delay_s: float = 300.0  # goes down to the most that was wanted in the last so many seconds
    _most: Most = field(init=False)
    _capacity_tokens: int = field(default=0, init=False)  # of one replica; 0: none has been seen yet

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        check_share("utilisation", self.utilisation)
        check_share("tolerance", self.tolerance)
        self._most = Most(self.scale_down_delay_s)

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return what the rule asks for."""
        for each in pool.replicas[:1]:
            self._capacity_tokens = each.total_blocks * each.block_size
        have = len(pool.replicas) + pool.coming
        if not self._capacity_tokens:
            return have
        load = sum(job.known_tokens for job in pool.unplaced)
        load += sum(each.outstanding_tokens for each in pool.replicas)
        wanted = within(self.tolerance, load, self.utilisation * self._capacity_tokens, have)
        return self._most.replicas(wanted, have, now_s)
