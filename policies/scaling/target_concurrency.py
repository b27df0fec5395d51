"""Target concurrency: as many replicas as keep the unfinished requests of each at a number, on average."""

import math
from collections import deque
from dataclasses import dataclass, field

from policies.scaling._steady import Most
from simulator.policy import PoolView


@dataclass
class TargetConcurrency:
    """The mean over a minute decides; that over some seconds does if it asks for twice what is there.

    In that case ("panic"), and at the beginning, nothing is given back for a window. Source: Knative's pod
    autoscaler, which KServe uses, with its defaults: windows of 60 and 6 s, panic at 200 %, looks 2 s apart, 70
    requests (100 at 70 %). What a replica can bear depends on hardware, model and traffic: set it.
    """

    requests: float = 70.0  # unfinished requests a replica is to have
    interval_s: float = 2.0  # seconds between two looks
    window_s: float = 60.0  # over which the number of unfinished requests is averaged
    panic_window_s: float = 6.0  # the shorter one
    panic_threshold: float = 2.0  # panic when it asks for so many times the replicas that are up
    scale_down_delay_s: float = (
        0.0  # goes down to the most that was wanted in the last so many seconds; 0: at once
    )
    _seen: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _most: Most = field(init=False)
    _panic_until_s: float = field(default=math.nan, init=False)  # NaN: not asked yet

    def __post_init__(self) -> None:
        """Refuse windows that are none."""
        if not self.interval_s <= self.panic_window_s <= self.window_s:
            raise ValueError(
                "expected interval_s <= panic_window_s <= window_s;"
                f" got {self.interval_s:g}, {self.panic_window_s:g} and {self.window_s:g}"
            )
        self._most = Most(self.scale_down_delay_s)

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return what the longer window asks for, or in a panic the shorter one."""
        have = len(pool.replicas) + pool.coming
        unfinished = len(pool.unplaced) + sum(each.outstanding_requests for each in pool.replicas)
        self._seen.append((now_s, unfinished))
        while self._seen[0][0] <= now_s - self.window_s:
            self._seen.popleft()
        lately = [count for at_s, count in self._seen if at_s > now_s - self.panic_window_s]
        panic = math.ceil(sum(lately) / len(lately) / self.requests)
        if math.isnan(self._panic_until_s) or panic >= self.panic_threshold * max(1, len(pool.replicas)):
            self._panic_until_s = now_s + self.window_s
        if now_s < self._panic_until_s:
            wanted = max(panic, have)
        else:
            wanted = math.ceil(sum(count for _, count in self._seen) / len(self._seen) / self.requests)
        return self._most.replicas(wanted, have, now_s)
