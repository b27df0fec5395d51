"""How every metric writes down a distribution, a share and a rate."""

from typing import Any

import numpy as np

from simulator.metrics.segments import Floats

PERCENTILES = (50, 90, 95, 99)


def distribution(values: Floats, over: str) -> dict[str, Any]:
    """Return count, what was counted (``over``), mean, p50, p90, p95, p99 and max of the values that exist.

    NaN marks a value that does not exist and is left out. Percentiles are exact, with linear interpolation
    between ranks (numpy's default, as serving benchmarks use). All but ``count`` are None when nothing is
    left.
    """
    present = values[~np.isnan(values)]
    result: dict[str, Any] = {"count": len(present), "over": over}
    if len(present) == 0:
        return result | dict.fromkeys(["mean", *(f"p{p}" for p in PERCENTILES), "max"])
    result["mean"] = float(present.mean())
    # One selection pass for all ranks; the copy that ``present`` is may be reordered.
    quantiles = np.percentile(present, PERCENTILES, overwrite_input=True)
    result |= {f"p{p}": float(value) for p, value in zip(PERCENTILES, quantiles, strict=True)}
    result["max"] = float(present.max())
    return result


def share(count: int, total: int) -> float | None:
    """Return ``count / total``; None when the total is 0."""
    return count / total if total else None


def rate(amount: float, window_s: float) -> float | None:
    """Return ``amount / window_s`` per second; None over a window of no length."""
    return amount / window_s if window_s > 0 else None
