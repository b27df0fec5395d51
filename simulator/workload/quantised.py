"""Coarse time stamps: many requests on one stamp, which came one after another before they were rounded."""

from typing import NamedTuple

import numpy as np

from simulator.arrays import Floats, median

_LEAST_ROWS = 8
_LOOK_AT = 100_000  # the first of them, as they are all alike
_SHARE_WHOLE = 0.98  # of stamps on a grid of seconds
_SHARE_TIED = 0.3  # of requests on the stamp of the one before
_GRIDS_S = (3600.0, 60.0, 10.0, 1.0)


class Stamps(NamedTuple):
    """How coarse the stamps of a trace are."""

    step_s: float  # from one stamp to the next, at least about
    on_grid: bool  # whether stamps are multiples of it
    tied: float  # share of requests on the stamp of the one before

    def described(self) -> str:
        """Say it in one line."""
        grid = f"whole {self.step_s:g} s" if self.on_grid else f"steps of about {self.step_s:.3g} s"
        return f"time stamps on {grid}, {self.tied:.0%} of requests on that of the one before"


def stamps(arrival_s: Floats) -> Stamps | None:
    """Return how coarse stamps (s, ascending; NaN: none) are; None if they are fine, or too few to tell."""
    times = arrival_s[:_LOOK_AT]
    times = times[~np.isnan(times)]
    if len(times) < _LEAST_ROWS:
        return None
    gaps = np.diff(times)
    tied, distinct = float((gaps == 0).mean()), gaps[gaps > 0]
    if not len(distinct):
        return None
    since = times - times[0]
    for step_s in _GRIDS_S:
        if (np.abs(since / step_s - np.rint(since / step_s)) < 1e-6).mean() >= _SHARE_WHOLE:
            return Stamps(step_s, True, tied)
    if tied >= _SHARE_TIED:
        return Stamps(median(distinct), False, tied)
    return None


def spread(arrival_s: Floats, found: Stamps, rng: "np.random.Generator") -> Floats:
    """Return arrivals moved uniformly up to the next stamp, at most by a step; ascending as before."""
    known = ~np.isnan(arrival_s)
    times = arrival_s[known]
    distinct = np.unique(times)
    room = np.minimum(np.diff(distinct, append=distinct[-1] + found.step_s), found.step_s)
    moved = times + rng.random(len(times)) * room[np.searchsorted(distinct, times)]
    moved.sort()
    result = arrival_s.copy()
    result[known] = moved
    return result
