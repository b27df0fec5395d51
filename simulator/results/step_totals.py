"""What is left of the engine's steps in a summary and a picture, added up replica by replica."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Columns, Floats, Ints

BINS = 80  # of time, in a picture
_NEARLY_FULL = 0.95  # share of a replica's KV blocks


class LoadOverTime(NamedTuple):
    """Means over equal bins of time, summed over replicas; 0 while none steps."""

    edges_s: Floats  # f64[bins + 1]
    running: Floats  # f64[bins], requests
    waiting: Floats
    kv_blocks_used: Floats


class StepTotals(NamedTuple):
    """Sums and maxima over all steps of all replicas; times in seconds."""

    steps: int
    busy_s: float
    kv_share_s: float  # share of the replica's KV blocks in use, times the time for which it was
    kv_share_max: float
    kv_nearly_full_s: float
    preemptions: int
    waiting_max: int  # on one replica
    running_max: int
    waiting_s: float | None = None  # requests waiting, times the time; None: saved before this was kept
    running_s: float | None = None  # requests running, times the time; None: as above
    load: LoadOverTime | None = None  # where the run took any time, and a picture was thought of

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, to be saved; the load is not."""
        return {name: value for name, value in self._asdict().items() if name != "load"}


class StepSums:
    """Adds up the steps of replicas, all of one at once or some of it at a time."""

    def __init__(self, usable_blocks: Ints, edges_s: Floats | None = None) -> None:
        """``usable_blocks`` are those of each replica; with ``edges_s`` all steps of a replica are added at once."""
        self._usable_blocks, self._edges_s = usable_blocks, edges_s
        self._steps = self._preemptions = self._waiting_max = self._running_max = 0
        self._kv_share_max = 0.0
        # Of each replica, so that what they come to does not depend on whose steps are added first
        self._seconds: Columns = {name: np.zeros(len(usable_blocks)) for name in _SECONDS}
        self._bins = {} if edges_s is None else {name: np.zeros(len(edges_s) - 1) for name in _LOAD}

    def add(self, replica: int, mine: Columns) -> None:
        """Add steps; the columns start_s, end_s, running, waiting, kv_blocks_used and preemptions are needed."""
        lasted_s = mine["end_s"] - mine["start_s"]
        used = mine["kv_blocks_used"] / self._usable_blocks[replica]
        self._steps += len(lasted_s)
        seconds = (
            lasted_s,
            used * lasted_s,  # not @, whose sums depend on the number of cores
            lasted_s[used >= _NEARLY_FULL],
            mine["waiting"] * lasted_s,
            mine["running"] * lasted_s,
        )
        for name, each in zip(_SECONDS, seconds, strict=True):
            self._seconds[name][replica] += each.sum()
        self._kv_share_max = max(self._kv_share_max, float(used.max(initial=0.0)))
        self._preemptions += int(mine["preemptions"].sum())
        self._waiting_max = max(self._waiting_max, int(mine["waiting"].max(initial=0)))
        self._running_max = max(self._running_max, int(mine["running"].max(initial=0)))
        for name, mean in self._bins.items():
            assert self._edges_s is not None
            mean += mean_step_over_bins(mine, name, self._edges_s)

    def totals(self) -> StepTotals:
        """Return what they are of all steps so far."""
        edges_s = self._edges_s
        load = LoadOverTime(edges_s, **self._bins) if edges_s is not None and self._steps else None
        return StepTotals(
            steps=self._steps,
            kv_share_max=self._kv_share_max,
            preemptions=self._preemptions,
            waiting_max=self._waiting_max,
            running_max=self._running_max,
            load=load,
            **{name: one_by_one(each) for name, each in self._seconds.items()},
        )


def one_by_one(values: Floats) -> float:
    """Return their sum, added in order."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total


def add_up(
    steps_by_replica: Iterable[tuple[int, Columns]], usable_blocks: Ints, edges_s: Floats | None
) -> StepTotals:
    """Return the totals of the steps of each replica; ``usable_blocks`` are those of each replica."""
    sums = StepSums(usable_blocks, edges_s)
    for replica, mine in steps_by_replica:
        sums.add(replica, mine)
    return sums.totals()


_SECONDS = ("busy_s", "kv_share_s", "kv_nearly_full_s", "waiting_s", "running_s")
_LOAD = ("running", "waiting", "kv_blocks_used")


def bin_edges(arrival_s: Floats, end_s: Floats, bins: int = BINS) -> Floats | None:
    """Edges of equal time bins over all requests; None when they span no time."""
    if len(arrival_s) == 0:
        return None
    first_s, last_s = float(arrival_s.min()), float(end_s.max())
    return np.linspace(first_s, last_s, bins + 1) if last_s > first_s else None


def mean_step_over_bins(steps: Columns, column: str, edges_s: Floats) -> Floats:
    """Return the time-weighted mean of a column of one replica's steps in each bin; 0 while it does not step."""
    start_s, end_s, value = steps["start_s"], steps["end_s"], steps[column]
    area = np.cumsum(value * (end_s - start_s))
    # The running integral is flat between steps and straight within one, so interpolation is exact.
    times_s = np.column_stack([start_s, end_s]).ravel()
    integral = np.column_stack([np.concatenate([[0.0], area[:-1]]), area]).ravel()
    mean: Floats = np.diff(np.interp(edges_s, times_s, integral)) / np.diff(edges_s)
    return mean
