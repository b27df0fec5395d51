"""Rates that change over time, and the arrivals that follow them.

An envelope is piecewise linear, and may jump. Its integral Λ(t) counts the arrivals expected up to t. Arrivals of
a renewal process with mean gap 1 at times u become arrivals at Λ⁻¹(u): the time change that turns a
homogeneous process into one with that rate (for Poisson arrivals: Çinlar, "Introduction to Stochastic Processes",
1975, section 4.7). Λ is quadratic on each piece, so its inverse is exact.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError

_AT_A_TIME = 2**20  # arrivals, as each takes ten times its room while its time is found
MOST_PIECES = 2_000_000  # some 200 MB while they are made


@dataclass(frozen=True)
class Envelope:
    """Pieces one after another from 0: piece i goes from ``edges_s[i]`` to ``edges_s[i + 1]``, linearly."""

    edges_s: Floats  # ascending from 0; one more than pieces
    first: Floats  # at the beginning of each piece, >= 0
    last: Floats  # towards its end, >= 0

    def __post_init__(self) -> None:
        """Join the pieces if they are all one and the same flat one, so that its arithmetic is that of a rate."""
        if len(self.first) > 1 and self.flat:
            for name, kept in (
                ("edges_s", self.edges_s[[0, -1]]),
                ("first", self.first[:1]),
                ("last", self.last[:1]),
            ):
                object.__setattr__(self, name, kept)

    @property
    def flat(self) -> bool:
        """Whether it never changes."""
        return bool((self.first == self.first[0]).all() and (self.last == self.first[0]).all())

    @property
    def mean(self) -> float:
        """The mean over all of its time."""
        return float(self.first[0]) if self.flat else float(self.expected()[-1] / self.edges_s[-1])

    def expected(self) -> Floats:
        """Return Λ at the edges."""
        areas = 0.5 * (self.first + self.last) * np.diff(self.edges_s)
        return np.concatenate([[0.0], np.cumsum(areas)])

    def scaled(self, divisor: float, factor: float) -> "Envelope":
        """Return the envelope with every value divided by one number and multiplied by another."""
        return Envelope(self.edges_s, self.first / divisor * factor, self.last / divisor * factor)

    def times_of(self, units: Floats) -> Floats:
        """Return Λ⁻¹ of ascending numbers > 0; beyond the end of the envelope its last piece goes on."""
        reached, slopes = self.expected(), self.slopes()
        times = np.empty(len(units))
        for first in range(0, len(units), _AT_A_TIME):
            some = slice(first, first + _AT_A_TIME)
            times[some] = self._times_of(units[some], reached, slopes)
        return np.maximum.accumulate(times, out=times)

    def _times_of(self, units: Floats, reached: Floats, slopes: Floats) -> Floats:
        # The piece in which Λ passes u: it has an area, whatever pieces without a rate lie before it.
        piece = np.clip(np.searchsorted(reached, units, side="left") - 1, 0, len(self.first) - 1)
        rate, slope, missing = self.first[piece], slopes[piece], units - reached[piece]
        with np.errstate(divide="ignore", invalid="ignore"):
            # the root of rate·s + slope·s²/2 = missing, in the form that loses no digits
            root = np.sqrt(np.maximum(rate * rate + 2 * slope * missing, 0.0))
            since = np.where(slope == 0, missing / rate, 2 * missing / (rate + root))
        ends = np.where(piece == len(self.first) - 1, np.inf, self.edges_s[piece + 1])
        times = np.minimum(self.edges_s[piece] + since, ends)
        return np.where(np.isnan(times), np.inf, times)

    def slopes(self) -> Floats:
        """Return by how much the rate grows per second in each piece."""
        with np.errstate(invalid="ignore", divide="ignore"):  # a piece may be too short to have a length
            slopes: Floats = (self.last - self.first) / np.diff(self.edges_s)
        return slopes


class Shape(NamedTuple):
    """Factors (or rates) at given times; before the first time there is the first one, after the last the last.

    ``linear``: in between on straight lines; else each holds until the next. With ``period_s``, more than the
    last time, all that repeats.
    """

    time_s: Floats  # strictly ascending, >= 0
    factor: Floats  # >= 0
    linear: bool = False
    period_s: float | None = None

    def until(self, until_s: float) -> Envelope:
        """Return it from 0 to ``until_s``; raise ``InputError`` if that takes too many pieces."""
        time_s, factor = self.time_s, self.factor
        if time_s[0] > 0:
            time_s, factor = np.concatenate([[0.0], time_s]), np.concatenate([factor[:1], factor])
        last = np.concatenate([factor[1:], factor[-1:]]) if self.linear else factor
        if self.period_s is None:
            return _cut(time_s, factor, last, until_s)
        times = repetitions(until_s, self.period_s, "load_period_s", len(time_s))
        edges_s = (np.arange(times)[:, None] * self.period_s + time_s).ravel()
        return _cut(edges_s, np.tile(factor, times), np.tile(last, times), until_s)


def repetitions(until_s: float, every_s: float, key: str, pieces: int = 1) -> int:
    """Return how often ``every_s`` begins before ``until_s``; raise ``InputError`` if too often."""
    times = np.ceil(until_s / every_s)
    if not times * pieces <= MOST_PIECES:
        raise InputError(
            f"workload.{key}: {every_s:g} s go {times:.3g} times into {until_s:g} s; expected at most"
            f" {MOST_PIECES // pieces:,} times"
        )
    return int(times)


def steps(edges_s: Floats, factor: Floats, until_s: float) -> Envelope:
    """Return an envelope whose values hold from their edge to the next, the first edge at 0."""
    return _cut(edges_s, factor, factor, until_s)


def product(one: Envelope, other: Envelope) -> Envelope:
    """Return ``one`` times ``other``, which must be of steps and end where ``one`` does."""
    edges_s = np.union1d(one.edges_s, other.edges_s)
    begin, end = edges_s[:-1], edges_s[1:]
    i = np.searchsorted(one.edges_s, begin, side="right") - 1
    factor = other.first[np.searchsorted(other.edges_s, begin, side="right") - 1]
    slope = one.slopes()[i]
    first = one.first[i] + slope * (begin - one.edges_s[i])
    last = np.where(end == one.edges_s[i + 1], one.last[i], one.first[i] + slope * (end - one.edges_s[i]))
    return Envelope(edges_s, np.maximum(first, 0.0) * factor, np.maximum(last, 0.0) * factor)


def _cut(begins_s: Floats, first: Floats, last: Floats, until_s: float) -> Envelope:
    """Return pieces that begin at these times, the last one going on flat, cut at ``until_s``."""
    kept = int(np.searchsorted(begins_s, until_s, side="left"))
    first, last = first[:kept], last[:kept]
    edges_s = np.concatenate([begins_s[:kept], [until_s]])
    if kept < len(begins_s) and last[-1] != first[-1]:
        share = (until_s - begins_s[kept - 1]) / (begins_s[kept] - begins_s[kept - 1])
        last = np.concatenate([last[:-1], [first[-1] + share * (last[-1] - first[-1])]])
    return Envelope(edges_s, first, last)
