"""How good the answers of each pool's model are, request by request, and what a judge would say of them."""

from typing import NamedTuple

from simulator.arrays import Flags, Floats


class Grading(NamedTuple):
    """What is not known in the cluster beforehand, of every request of the workload."""

    good: Flags  # bool[requests, pools]: whether the pool's model answers it well
    judge_draw: Floats  # f64[requests, pools] from 0 to 1: a judge who errs more often than that is wrong
    usd_per_request: Floats  # f64[pools], at list price

    def accepted(self, row: int, pool: int, judge_error: float) -> bool:
        """Whether a judge who is wrong so often takes a pool's answer for good."""
        right = bool(self.judge_draw[row, pool] >= judge_error)
        return bool(self.good[row, pool]) == right
