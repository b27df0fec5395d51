"""Values pooled over all tokens: kept, and then exact, or counted in buckets where they are too many.

The sketch is a DDSketch (Masson, Rim, Lee, VLDB 2019, arXiv 1908.10693) whose buckets are of equal width
within each power of two, so that a value's bucket is the leading bits of its floating-point number: 512
buckets a doubling, which puts their middles within 2^-10, 0.1 %, of whatever is in them. It is signed; what is
below 1e-9 (of a second) is 0, and what is above 2^31 (68 years) is in the last bucket.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from simulator.arrays import Floats, Ints

PERCENTILES = (50, 90, 95, 99)
_BITS = 9  # of the mantissa that name a bucket: 2^9 of them a power of two
RELATIVE_ERROR = 2.0 ** -(_BITS + 1)
_SHIFT = 52 - _BITS
_SMALLEST, _LARGEST = 2.0**-30, 2.0**31


def _leading_bits(magnitudes: Floats) -> Ints:
    return magnitudes.view(np.int64) >> _SHIFT


_FIRST, _LAST = (int(_leading_bits(np.array([bound]))[0]) for bound in (_SMALLEST, _LARGEST))
_BUCKETS = _LAST - _FIRST


_FIGURES = ("mean", *(f"p{p}" for p in PERCENTILES), "max")


class ValuePool:
    """Values whose distribution is written down; added in parts, they give the same as added at once."""

    def __init__(self, exact: bool, memory: Floats | None = None) -> None:
        """``exact`` keeps all values; otherwise half a megabyte stands for any number of them.

        ``memory`` for as many values as are expected may be used again once the pool is settled.
        """
        self.exact = exact
        self.count = 0
        self._values: Floats = np.empty(0) if memory is None else memory  # the first ``count`` are there
        self._sum, self._min, self._max = 0.0, np.inf, -np.inf
        # Buckets from the most negative, over 0 in the middle, to the largest.
        self._buckets = np.zeros(0 if exact else 2 * _BUCKETS + 1, np.int64)
        self._figures: dict[str, float] | None = None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        """Return the pool that was ``described`` so; nothing can be added to it."""
        pool = cls(exact=True)
        pool.exact, pool.count = description.get("exact", True), description["count"]
        pool._figures = {name: description[name] for name in _FIGURES}
        return pool

    def add(self, values: Floats) -> None:
        """Take in values; NaN is none."""
        if np.isnan(values).any():
            values = values[~np.isnan(values)]
        if not len(values):
            return
        before, self.count = self.count, self.count + len(values)
        if self.exact:
            if self.count > len(self._values):
                more = np.empty(max(self.count, 2 * before))
                more[:before] = self._values[:before]
                self._values = more
            self._values[before : self.count] = values
            return
        self._sum += float(values.sum())
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))
        magnitudes = np.abs(values)
        bucket = _leading_bits(magnitudes)
        np.clip(bucket, _FIRST, _LAST - 1, out=bucket)
        bucket -= _FIRST - 1
        bucket[magnitudes < _SMALLEST] = 0
        np.negative(bucket, out=bucket, where=values < 0)
        bucket += _BUCKETS
        self._buckets += np.bincount(bucket, minlength=len(self._buckets))

    def figures(self) -> dict[str, float]:
        """Return mean, p50, p90, p95, p99 and max; nothing can be added afterwards, nor without a value be asked.

        Percentiles are interpolated between ranks as in ``np.percentile``. Of a sketch they are interpolated
        between values that are within ``RELATIVE_ERROR`` of those ranks'; mean and max are always exact.
        """
        if self._figures is None:
            self._figures = self._exact_figures() if self.exact else self._sketched_figures()
            self._values, self._buckets = self._values[:0].copy(), self._buckets[:0]
        return self._figures

    def settle(self) -> None:
        """Let go of values that are kept, as no more are to come."""
        if self.exact and self.count:
            self.figures()

    def _exact_figures(self) -> dict[str, float]:
        values = self._values[: self.count]
        mean, largest = values.mean(), values.max()
        return _named(mean, *_percentiles(values), largest)

    def _sketched_figures(self) -> dict[str, float]:
        rank = (self.count - 1) * np.array(PERCENTILES) / 100
        below = np.floor(rank)
        low, high = self._ranked(below), self._ranked(np.ceil(rank))
        return _named(self._sum / self.count, *(low + (high - low) * (rank - below)), self._max)

    def _ranked(self, ranks: Floats) -> Floats:
        """The values of ranks counted from 0: the middles of their buckets."""
        place = np.searchsorted(np.cumsum(self._buckets), ranks, side="right") - _BUCKETS
        lower = np.maximum(np.abs(place), 1) - 1 + _FIRST
        edges = [((lower + more) << _SHIFT).view(np.float64) for more in (0, 1)]
        found: Floats = np.clip(np.sign(place) * (edges[0] + edges[1]) / 2, self._min, self._max)
        return found


def _percentiles(values: Floats) -> list[float]:
    """Return PERCENTILES to the last bit as ``np.percentile`` does; reorders the values.

    One rank after another, each among the values above the one before: many times faster than all at once.
    """
    found, rest, before = [], values, 0
    for percent in PERCENTILES:
        rank = (len(values) - 1) * (percent / 100)
        below = math.floor(rank)
        rest.partition(below - before)
        rest, before = rest[below - before :], below
        low, share = float(rest[0]), rank - below
        high = float(rest[1:].min()) if share else low
        found.append(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))
    return found


def _named(*figures: float) -> dict[str, float]:
    return {name: float(value) for name, value in zip(_FIGURES, figures, strict=True)}


def described(pool: ValuePool) -> dict[str, Any]:
    """Return what a summary says of a pool: count, figures (None of nothing), and the error of a sketch."""
    figures = pool.figures() if pool.count else dict.fromkeys(_FIGURES)
    error = {} if pool.exact else {"exact": False, "relative_error": RELATIVE_ERROR}
    return {"count": pool.count, **figures, **error}
