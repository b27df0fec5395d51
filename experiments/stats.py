"""What the verdicts rest on: means over seeds with their 95 % intervals, and paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % confidence interval (Student's t)."""

    mean: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval is above 0."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether all of the interval is below 0."""
        return self.high < 0

    def text(self, format_spec: str = ".3g", scale: float = 1.0) -> str:
        """Return ``mean [low, high]``, each multiplied by ``scale`` (100 for percent)."""
        mean, low, high = (format(scale * each, format_spec) for each in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def __str__(self) -> str:
        return self.text()


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of one value a seed with its 95 % t-interval; unbounded for a single seed.

    Raises ValueError for no value, or one that is not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if len(found) == 0 or not np.isfinite(found).all():
        raise ValueError(f"expected finite numbers, one a seed, got {list(values)}")
    mean = float(found.mean())
    if len(found) == 1:
        return Interval(mean, -math.inf, math.inf)
    from scipy.stats import t as student  # slow to import

    half = float(student.ppf(0.975, len(found) - 1)) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Interval(mean, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Return the mean of ``a - b`` with its 95 % t-interval.

    Both hold one value a seed, in the same order: what they share (common random numbers) cancels out.
    Raises ValueError for unequal lengths, or as ``interval`` does.
    """
    return interval([one - other for one, other in zip(a, b, strict=True)])
