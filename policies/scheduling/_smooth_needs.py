"""Readers in the order in which they need their next tokens, for the policy ``smooth``."""

from bisect import bisect_left
from collections.abc import Mapping
from heapq import merge
from itertools import islice
from math import inf

from simulator.policy import Job

Keyed = tuple[float, int, Job]  # a reader: need less its ticks, id, job


def go_on(readers: list[Keyed], latest: float) -> None:
    """Bring those who needed a token earlier up to this need."""
    late = bisect_left(readers, (latest, inf))
    if late:
        readers[:late] = sorted((latest, number, job) for _, number, job in readers[:late])


def need_s(by_pace: Mapping[float, list[Keyed]], place: int, tick: int) -> float:
    """When the reader in that place (0 is the first) needs a token; never, if there are not so many."""
    if len(by_pace) == 1:  # they are in order already
        for pace_s, readers in by_pace.items():
            return readers[place][0] + pace_s * tick if place < len(readers) else inf
    in_order = (
        [key + pace_s * tick for key, _, _ in islice(readers, place + 1)]
        for pace_s, readers in by_pace.items()
    )
    return next(islice(merge(*in_order), place, None), inf)
