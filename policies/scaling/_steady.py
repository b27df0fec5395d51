"""What keeps a number of replicas from following every ripple."""

import math
from collections import deque


class Most:
    """Going down stops at the most that was wanted in the last seconds, which begin with what there was at first."""

    def __init__(self, delay_s: float) -> None:
        """``delay_s`` is how long a number counts."""
        self.delay_s = delay_s
        self._recent: deque[tuple[float, int]] = deque()  # when so many were wanted; fewer and fewer

    def replicas(self, wanted: int, have: int, now_s: float) -> int:
        """Return how many replicas there are to be where ``have`` are and ``wanted`` would be right."""
        recent = self._recent
        if not recent:
            recent.append((now_s, have))
        while recent and recent[-1][1] <= wanted:
            recent.pop()
        recent.append((now_s, wanted))
        while recent[0][0] < now_s - self.delay_s:
            recent.popleft()
        return max(wanted, min(have, recent[0][1]))


def within(tolerance: float, load: float, target: float, have: int) -> int:
    """Return ceil(load / target), or ``have`` if with so many the load is near the target, relative to it."""
    if have and abs(load / (have * target) - 1) <= tolerance:
        return have
    return math.ceil(load / target)
