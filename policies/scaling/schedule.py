"""Schedule: so many replicas from given times on, once or again and again."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from simulator.policy import PoolView


@dataclass
class Schedule:
    """What is known of the day is ordered by the clock, whatever the load is.

    Replicas are ordered at the first look at or after a time, so times are to be as much earlier as a replica takes
    to come. Source: scheduled actions of cloud autoscalers, such as KEDA's cron scaler.
    """

    at_s: list[float] = field(default_factory=lambda: [0.0])  # simulated seconds, ascending
    replicas: list[int] = field(default_factory=lambda: [1])  # from each of those times on
    repeat_s: float = 0.0  # length of a day after which it begins again, 86400 for a real one; 0: once
    interval_s: float = 15.0  # seconds between two looks

    def __post_init__(self) -> None:
        """Refuse times that are no schedule."""
        if not self.at_s or len(self.at_s) != len(self.replicas):
            raise ValueError(
                f"at_s and replicas go together; got {len(self.at_s)} times and {len(self.replicas)} numbers"
            )
        ascending = all(one < two for one, two in pairwise([*self.at_s, math.inf]))
        if not ascending or not self.at_s[0] >= 0:
            raise ValueError(f"at_s has to ascend from 0 or more; got {self.at_s}")
        if self.repeat_s and not self.at_s[-1] < self.repeat_s:
            raise ValueError(
                f"at_s has to be within a day of repeat_s = {self.repeat_s:g}; got {self.at_s[-1]:g}"
            )
        if min(self.replicas) < 0:
            raise ValueError(f"replicas are 0 or more; got {self.replicas}")

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return the number of the last time that has come; before the first, as many as there are."""
        day_s = now_s % self.repeat_s if self.repeat_s else now_s
        index = bisect_right(self.at_s, day_s) - 1
        if index < 0 and now_s < (self.repeat_s or now_s + 1):
            return len(pool.replicas) + pool.coming
        return self.replicas[index]  # -1: since the last time of the day before
