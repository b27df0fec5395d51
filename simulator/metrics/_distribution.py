"""How every metric writes down a distribution, a share and a rate."""

from typing import Any

from simulator.arrays import Floats
from simulator.metrics._pool import ValuePool, described


def distribution(values: Floats | ValuePool, over: str) -> dict[str, Any]:
    """Return count, what was counted (``over``), mean, p50, p90, p95, p99 and max of the values that exist.

    NaN marks a value that does not exist and is left out. Percentiles have linear interpolation between ranks
    (numpy's default, as serving benchmarks use). They are exact, except in a pool of more values than can be
    kept, where ``"exact": false`` and their ``relative_error`` are beside them. All but ``count`` are None when
    nothing is left.
    """
    if not isinstance(values, ValuePool):
        pool = ValuePool(exact=True)
        pool.add(values)
        values = pool
    count, *figures = described(values).items()
    return dict([count, ("over", over), *figures])


def share(count: int, total: int) -> float | None:
    """Return ``count / total``; None when the total is 0."""
    return count / total if total else None


def rate(amount: float, window_s: float) -> float | None:
    """Return ``amount / window_s`` per second; None over a window of no length."""
    return amount / window_s if window_s > 0 else None
