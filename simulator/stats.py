"""What verdicts rest on: intervals for means and quantiles, paired differences, and when to stop a repetition.

Textbook methods (Law, Simulation Modeling and Analysis, 5th ed., chapters 4, 9 and 10), on plain numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from simulator.arrays import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided confidence interval; 95 % where nothing else is asked for."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval is above 0."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether all of the interval is below 0."""
        return self.high < 0

    def holds(self, value: float) -> bool:
        """Whether the interval covers a value."""
        return self.low <= value <= self.high

    @property
    def known(self) -> bool:
        """Whether it has both ends: one value, or values that no seed changes, have no interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def within(self, least: float, most: float) -> "Interval":
        """Return it without what lies beyond the values that are possible at all, such as 0 to 1 for a share."""
        if self.low == -math.inf and self.high == math.inf:
            return self
        return Interval(self.mean, *(min(max(end, least), most) for end in (self.low, self.high)))

    def text(self, format_spec: str = ".3g", scale: float = 1.0) -> str:
        """Return ``mean [low, high]``, each multiplied by ``scale`` (100 for percent)."""
        mean, low, high = (format(scale * each, format_spec) for each in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def __str__(self) -> str:
        return self.text()


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent replications, one value a seed, with its Student t interval.

    Unbounded for a single value. Raises ValueError for no value, or one that is not finite.
    """
    found = _finite(values)
    mean = float(found.mean())
    if len(found) == 1:
        return Interval(mean, -math.inf, math.inf)
    half = _student(len(found) - 1, _two_sided(confidence)) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Interval(mean, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of ``a - b`` with its t-interval.

    Both hold one value a seed, in the same order: what they share (common random numbers) cancels out.
    Raises ValueError for unequal lengths, or as ``interval`` does.
    """
    return interval([one - other for one, other in zip(a, b, strict=True)], confidence)


def p_above(values: Sequence[float], bound: float = 0.0) -> float:
    """Return the one-sided p-value (0..1) that the mean of independent replications is above a bound, by a t-test.

    Small speaks for "above", close to 1 for "below". Values that are all alike have no error: 0, 1, or 0.5 at the
    bound itself. A single value shows nothing: 0.5. Raises ValueError as ``interval`` does.
    """
    from scipy.special import stdtr  # scipy.stats is slower to import

    found = _finite(values) - bound
    mean, n = float(found.mean()), len(found)
    if n == 1:
        return 0.5
    if np.ptp(found) == 0:
        return 0.5 if found[0] == 0 else float(found[0] < 0)
    return float(stdtr(n - 1, -mean / (float(found.std(ddof=1)) / math.sqrt(n))))


def holm(p_values: Sequence[float], confidence: float = CONFIDENCE) -> list[bool]:
    """Return which of a family of p-values show something, with at most ``1 - confidence`` for any false one.

    The smallest p-value is held to the level divided by their number, the next to that divided by one less, and so on
    until one fails, whatever they depend on (Holm, Scand. J. Statist. 6, 1979).
    """
    shown = [False] * len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] > (1 - confidence) / (len(p_values) - rank):
            break
        shown[i] = True
    return shown


def signs(family: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> list[int]:
    """Return for each sample of a family (paired differences, one value a seed) where its mean is shown to be.

    1 above 0, -1 below, 0 not shown: two-sided t-tests, corrected for their number by ``holm``. Raises ValueError as
    ``interval`` does.
    """
    above = [p_above(sample) for sample in family]
    shown = holm([2 * min(p, 1 - p) for p in above], confidence)
    return [(1 if p < 0.5 else -1) if sure else 0 for p, sure in zip(above, shown, strict=True)]


def batch_means(series: ArrayLike, batches: int = 20, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of one autocorrelated run, f64[n], with the t-interval of its batches' means.

    The run is cut into ``batches`` equal stretches (what is left over at its start is not used), which must
    be long against the time over which the series remembers, and free of warm-up. Raises ValueError for
    fewer than two batches, fewer values than batches, or one that is not finite.
    """
    return interval(_batches(series, batches).mean(axis=1).tolist(), confidence)


def batch_quantile(
    series: ArrayLike, quantile: float, batches: int = 20, confidence: float = CONFIDENCE
) -> Interval:
    """Return a quantile (0..1) of one autocorrelated run, f64[n], with its interval by sectioning.

    The estimate is the quantile of the whole run, about which the batches' own quantiles scatter: less biased
    than their mean (Asmussen and Glynn, Stochastic Simulation, 2007, section III.5). Raises as ``batch_means``.
    """
    rows = _batches(series, batches)
    whole = float(np.quantile(rows, quantile))
    spread = np.sqrt(np.sum((np.quantile(rows, quantile, axis=1) - whole) ** 2) / (batches - 1))
    half = _student(batches - 1, _two_sided(confidence)) * float(spread) / math.sqrt(batches)
    return Interval(whole, whole - half, whole + half)


def order_quantile(values: ArrayLike, quantile: float, confidence: float = CONFIDENCE) -> Interval:
    """Return a quantile (0..1) of INDEPENDENT values with its distribution-free interval.

    Two order statistics bound it: how many values lie below the quantile is binomial (David and Nagaraja,
    Order Statistics, 2003, section 7.1). Covers at least as often as stated. A side for which there are too
    few values is unbounded. Raises ValueError as ``interval`` does.
    """
    from scipy.stats import binom  # slow to import

    found = np.sort(_finite(values))
    n, tail = len(found), (1 - confidence) / 2
    # P(fewer than r values below the quantile) is binom.cdf(r - 1): at most one tail on either side.
    below = int(binom.ppf(tail, n, quantile))
    below -= int(binom.cdf(below, n, quantile) > tail)
    above = int(binom.ppf(1 - tail, n, quantile))
    low = float(found[below]) if below >= 0 else -math.inf
    high = float(found[above]) if above < n else math.inf
    return Interval(float(np.quantile(found, quantile)), low, high)


@dataclass(frozen=True)
class Looks:
    """A sequential test of a mean against a bound, with a bounded number of values.

    After each of ``counts`` values it looks; a one-sided t-test at ``1 - confidence`` divided by the number of
    looks (Bonferroni) may then end it. However the looks fall, the chance to call a mean on one side of the
    bound that is on the other is at most ``1 - confidence``, for values that are normal.
    """

    counts: tuple[int, ...] = (4, 6, 8, 12)
    confidence: float = CONFIDENCE

    def side(self, values: Sequence[float], bound: float) -> Literal["above", "below"] | None:
        """Return where the mean is shown to be by the values of the last look, or None.

        Values after the last look are not used. Raises ValueError as ``interval`` does.
        """
        looked = max((count for count in self.counts if count <= len(values)), default=0)
        if looked < 2:
            return None
        found = _finite(values[:looked]) - bound
        error = float(found.std(ddof=1)) / math.sqrt(looked)
        away = _student(looked - 1, 1 - (1 - self.confidence) / len(self.counts)) * error
        mean = float(found.mean())
        if abs(mean) <= away:
            return None
        return "above" if mean > 0 else "below"

    def next_count(self, done: int) -> int | None:
        """Return how many values the next look needs when there are ``done``; None after the last."""
        return next((count for count in self.counts if count > done), None)


def until_precise(
    draw: Callable[[int], float],
    relative: float,
    *,
    at_least: int = 10,
    at_most: int = 1000,
    confidence: float = CONFIDENCE,
) -> tuple[list[float], bool]:
    """Repeat ``draw(i)``, i = 0, 1, ..., until the interval's half width is small against the mean.

    Small is ``relative / (1 + relative)`` of the mean's size, so that the error relative to the TRUE mean is at
    most ``relative`` (Law, section 9.4.1). Returns the values and whether that was reached within ``at_most``.
    """
    values: list[float] = []
    while len(values) < at_most:
        values.append(draw(len(values)))
        if len(values) >= max(2, at_least):
            found = interval(values, confidence)
            if found.half <= relative / (1 + relative) * abs(found.mean):
                return values, True
    return values, False


def _two_sided(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
    return (1 + confidence) / 2


@lru_cache
def _student(freedom: int, share: float) -> float:
    from scipy.special import stdtrit  # scipy.stats is slower to import

    return float(stdtrit(freedom, share))


def _finite(values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if len(found) == 0 or not np.isfinite(found).all():
        raise ValueError(f"expected finite numbers, one a seed, got {np.asarray(values).tolist()}")
    return found


def _batches(series: ArrayLike, batches: int) -> Floats:
    """Cut a run into rows of equal length, f64[batches, n // batches]."""
    found = _finite(series)
    if not 2 <= batches <= len(found):
        raise ValueError(f"expected 2 to {len(found)} batches of {len(found)} values, got {batches}")
    size = len(found) // batches
    return found[len(found) - batches * size :].reshape(batches, size)
