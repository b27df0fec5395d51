"""What decides how long readers wait, for every V at once: the upper envelope of each request's delivery.

The idle latency ``l = max_i(t_i − S − V·g(i))`` (arXiv 2410.14257v2, Eq. 9; ``simulator.metrics._reader``) is the
maximum of lines in V, so for V >= 0 only the points ``(g(i), t_i)`` on the upper hull of a request can give it. A few
points stand for hundreds of tokens, and nothing is lost: the page computes l for any V, S and alpha from them alone
(``page_metrics.js``). A reader who waits for a token that never came is one more point, at the end of its wait.

Times are whole nanoseconds, so l is within half of one of what is computed from the records.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics import RequestLog, UserModel
from simulator.metrics._places import first_read_s, next_place, places, thinking_tokens
from simulator.report.html.packed import packed

QUANTUM_S = 1e-9
_MOST_PLACES = 2.0**46  # of all parts
_LARGEST = 2.0**61  # of a product of a time and a place that is computed in whole numbers


class Points(NamedTuple):
    """Points of rows one after another: reading position and time since the row's clock began."""

    place: Floats
    time_s: Floats
    counts: Ints  # points of each row
    first_s: Floats  # when the row's reader gets the first token that is read; NaN: never


class Envelopes(NamedTuple):
    """Upper hulls, row by row, in whole numbers: places times ``scale``, times in ``QUANTUM_S``."""

    place: Ints
    time: Ints
    counts: Ints
    first: Ints  # in ``QUANTUM_S``; -1: no token is read
    scale: int

    def document(self) -> dict[str, Any]:
        """Return them for JSON: within a row as differences to the point before."""
        begins = np.cumsum(self.counts) - self.counts
        first = np.zeros(len(self.place), np.bool_)
        first[begins[self.counts > 0]] = True
        apart = [np.where(first, each, np.diff(each, prepend=0)) for each in (self.place, self.time)]
        read = self.first >= 0
        alike = bool(np.array_equal(self.time[begins[read]], self.first[read]))
        return {
            "quantum_s": QUANTUM_S,
            "scale": self.scale,
            "counts": packed(self.counts),
            "places": packed(apart[0]),
            "times": packed(apart[1]),
            "unread": packed(np.flatnonzero(~read)),
            "first": None if alike else packed(self.first),  # None: that of the row's first point
        }


def scale_of(log: RequestLog, user: UserModel) -> int:
    """Return into how many parts a place is cut: one for readers who come to tokens at whole places."""
    curve = user.curve
    if curve is None or (curve.fatigue == 0 and curve.skim_speedup == 1):
        return 1
    farthest = float(curve.position(1.0 + float(log.output_tokens.max(initial=0)), 0.0))
    return int(10 ** max(0, min(8, math.floor(math.log10(_MOST_PLACES / farthest)))))


def points_of(log: RequestLog, user: UserModel, at_s: float | None, chosen: Flags) -> Points:
    """Return the points of the chosen requests (bool[n]) as they stood at a time; None: at the end of the run.

    Times count from the arrival, without S, whatever the readers' origin. ``log`` has its tokens.
    """
    rows = np.flatnonzero(chosen)
    counts = log.token_counts
    if at_s is not None:
        came = np.concatenate([[0], np.cumsum(log.delivered_s <= at_s)])
        counts = came[log.token_offsets[1:]] - came[log.token_offsets[:-1]]
    clock_s = log.arrival_s
    first_s = np.where(counts > thinking_tokens(log, user), first_read_s(log, user) - clock_s, np.nan)
    waits_on = user.unserved == "wait_to_end"
    if at_s is None:
        until_s = np.maximum(log.end_s, log.end_of_run_s) if waits_on else log.end_s
        owed = ~log.completed | (counts == 0)
    else:
        until_s = np.full(log.n, at_s) if waits_on else np.minimum(log.end_s, at_s)
        owed = ~(log.completed & (log.end_s <= at_s)) | (counts == 0)
    mine, owed = counts[rows], owed[rows]
    each = mine + owed
    begins = np.cumsum(each) - each
    place, time_s = np.empty(int(each.sum())), np.empty(int(each.sum()))
    nth = np.arange(int(mine.sum())) - np.repeat(np.cumsum(mine) - mine, mine)
    token, at = np.repeat(log.token_offsets[rows], mine) + nth, np.repeat(begins, mine) + nth
    place[at] = places(log, user)[token]
    time_s[at] = log.delivered_s[token] - np.repeat(clock_s[rows], mine)
    last = (begins + mine)[owed]
    place[last] = next_place(log, user, counts)[rows][owed]
    time_s[last] = (until_s - clock_s)[rows][owed]
    return Points(place, time_s, each, first_s[rows])


def envelopes(parts: Iterable[Points], scale: int) -> Envelopes:
    """Return the upper hulls of points that come some rows at a time, with places in parts of 1/``scale``."""
    hulls = [(*_hulls(each, scale), _quanta(each.first_s)) for each in parts]
    place, time, counts, first = (
        np.concatenate([np.empty(0, np.int64), *(hull[i] for hull in hulls)]) for i in range(4)
    )
    return Envelopes(place, time, counts, first, scale)


def _quanta(times_s: Floats) -> Ints:
    quanta: Ints = np.rint(np.nan_to_num(times_s, nan=-1.0) / QUANTUM_S).astype(np.int64)
    return np.where(np.isnan(times_s), -1, quanta)


def _hulls(points: Points, scale: int) -> tuple[Ints, Ints, Ints]:
    """Return place, time and counts of the upper hulls.

    A point on or below the line between two others of its row is none of its hull's. All points that are so against
    their neighbours go at once, until none does: each round costs as much as there are points left.
    """
    row = np.repeat(np.arange(len(points.counts)), points.counts)
    place = np.rint(points.place * scale).astype(np.int64)
    time = np.rint(points.time_s / QUANTUM_S).astype(np.int64)
    most = float(np.abs(place).max(initial=1)) * float(np.abs(time).max(initial=1))
    kind = np.int64 if most < _LARGEST else np.float64
    while True:
        between = np.flatnonzero((row[2:] == row[1:-1]) & (row[1:-1] == row[:-2])) + 1
        x, y = place.astype(kind), time.astype(kind)
        left, right = between - 1, between + 1
        above = (y[between] - y[left]) * (x[right] - x[left]) > (y[right] - y[left]) * (x[between] - x[left])
        if above.all():
            return place, time, np.bincount(row, minlength=len(points.counts))
        stays = np.ones(len(row), np.bool_)
        stays[between[~above]] = False
        row, place, time = row[stays], place[stays], time[stays]
