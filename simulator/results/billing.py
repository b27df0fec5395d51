"""What replicas cost: how many were paid for and for how long, from the record of those that came and went.

A pool that is scaled has a row in the table ``scaling`` for each replica (``simulator.cluster.autoscaler``). It is paid
for from ``billed_from_s`` to ``released_s``, by the second, and takes requests or finishes them from ``ready_s``
to ``released_s``; NaN: never, or not by the end of the run. A pool that is not scaled has no rows, and all of
its replicas all the time.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.arrays import Columns, Floats
from simulator.metrics import Measure

MEASURES = (
    Measure("cost.gpus", "GPUs", "on average", shown=(), least=0),
    Measure("cost.gpu_hours", "paid for", "GPU hours", shown=(), least=0),
    Measure("cost.usd", "cost", "US$", shown=(), least=0),
    Measure("cost.smooth_good_tokens_per_gpu_hour", "smooth goodput", "tokens per GPU hour", True, shown=()),
    Measure(
        "cost.usd_per_million_output_tokens", "price", "US$ per million output tokens", shown=("compare",),
        least=0,
    ),
    Measure(
        "cost.usd_per_million_smooth_good_tokens", "price", "US$ per million smooth-good tokens",
        shown=("compare",), least=0,
    ),
)  # fmt: skip


def bill(
    manifest: Mapping[str, Any], scaling: Columns | None, start_s: float, end_s: float
) -> dict[str, Any]:
    """Return GPUs (on average), GPU hours and US$ of all pools in a window; how many replicas where scaled.

    Under ``replicas`` there is for each of those pools, by its role: mean and peak of the replicas paid for, the mean
    of those in service, and how many were ordered and released within the window.
    """
    window_s = max(0.0, end_s - start_s)
    if scaling is None:
        hours = manifest["gpus"] * window_s / 3600
        return {"gpus": manifest["gpus"], "gpu_hours": hours, "usd": manifest["usd_per_gpu_hour"] * hours}
    pools = {
        pool.get("name", pool["role"]): _replicas(mine, start_s, end_s)
        for pool, mine in _pools(manifest, scaling)
        if mine is not None
    }
    gpu_s = usd = 0.0
    for gpu_s_of_pool, usd_of_pool in bills(manifest, scaling, start_s, end_s):
        gpu_s += gpu_s_of_pool
        usd += usd_of_pool
    gpus = gpu_s / window_s if window_s else 0.0
    return {"gpus": gpus, "gpu_hours": gpu_s / 3600, "usd": usd, "replicas": pools}


def bills(
    manifest: Mapping[str, Any], scaling: Columns | None, start_s: float, end_s: float
) -> list[tuple[float, float]]:
    """Return GPU seconds and US$ of each pool in a window."""
    found = []
    for pool, mine in _pools(manifest, scaling):
        if mine is None:
            replica_s = pool["replicas"] * max(0.0, end_s - start_s)
        else:
            replica_s = float(_within(mine["billed_from_s"], mine["released_s"], start_s, end_s).sum())
        size = pool["tensor_parallel_size"] * pool.get("pipeline_parallel_size", 1)
        price = pool.get("usd_per_gpu_hour", manifest["usd_per_gpu_hour"])
        found.append((size * replica_s, price * size * replica_s / 3600))
    return found


def service_s(manifest: Mapping[str, Any], scaling: Columns | None, start_s: float, end_s: float) -> float:
    """Return the replica seconds in service of all pools in a window, those of draining ones included."""
    total_s = 0.0
    for pool, mine in _pools(manifest, scaling):
        if mine is None:
            total_s += pool["replicas"] * (end_s - start_s)
        else:
            total_s += float(_within(mine["ready_s"], mine["released_s"], start_s, end_s).sum())
    return total_s


def mean_over_bins(begin_s: Floats, end_s: Floats, edges: Floats, weight: Floats | float = 1.0) -> Floats:
    """Return how many of the intervals are open in each bin of time, on average; each counts ``weight``."""
    end_s = np.where(np.isnan(end_s), np.inf, end_s)
    open_s = np.zeros(len(edges) - 1)
    for begin, end, each in zip(begin_s, end_s, np.broadcast_to(weight, begin_s.shape), strict=True):
        if end > begin:  # not NaN: never
            open_s += each * np.diff(np.clip(edges, begin, end))
    return open_s / np.diff(edges)


def _pools(
    manifest: Mapping[str, Any], scaling: Columns | None
) -> list[tuple[Mapping[str, Any], Columns | None]]:
    """Return each pool with its rows of the table; None for one that is not scaled."""
    found: list[tuple[Mapping[str, Any], Columns | None]] = []
    first = 0
    for pool in manifest["pools"]:
        last = first + pool.get("places", pool["replicas"])
        mine: Columns | None = None
        if scaling is not None and pool.get("scaling") is not None:
            rows = (scaling["replica"] >= first) & (scaling["replica"] < last)
            mine = {name: column[rows] for name, column in scaling.items()}
        found.append((pool, mine))
        first = last
    return found


def _replicas(mine: Columns, start_s: float, end_s: float) -> dict[str, Any]:
    """Count the replicas of one pool in a window."""
    window_s = max(end_s - start_s, 1e-12)
    billed_s = float(_within(mine["billed_from_s"], mine["released_s"], start_s, end_s).sum())
    in_service_s = float(_within(mine["ready_s"], mine["released_s"], start_s, end_s).sum())
    ordered = (mine["ordered_s"] > start_s) & (mine["ordered_s"] < end_s)
    released = (mine["released_s"] > start_s) & (mine["released_s"] < end_s)
    return {
        "mean": billed_s / window_s,
        "peak": _peak(mine["billed_from_s"], mine["released_s"], start_s, end_s),
        "mean_in_service": in_service_s / window_s,
        "ordered": int(ordered.sum()),
        "released": int(released.sum()),
    }


def _within(begin_s: Floats, end_s: Floats, start_s: float, stop_s: float) -> Floats:
    """Return the length of each interval inside a window; an end that is NaN has not come."""
    end_s = np.where(np.isnan(end_s), np.inf, end_s)
    inside = np.minimum(end_s, stop_s) - np.maximum(begin_s, start_s)
    return np.where(inside > 0, inside, 0.0)  # also where the beginning is NaN


def _peak(begin_s: Floats, end_s: Floats, start_s: float, stop_s: float) -> int:
    """Return the most intervals that are open at one time in a window."""
    real = _within(begin_s, end_s, start_s, stop_s) > 0
    begins, ends = np.sort(begin_s[real]), np.sort(np.nan_to_num(end_s[real], nan=np.inf))
    at = np.maximum(begins, start_s)
    counts = np.searchsorted(begins, at, side="right") - np.searchsorted(ends, at, side="right")
    return int(counts.max(initial=0))


def price(paid: Mapping[str, float], usd_per_gpu_hour: float, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What was ``paid`` and what a million tokens cost; ``usd_per_gpu_hour`` stands in where nothing was billed."""
    usd, hours = paid["usd"], paid["gpu_hours"]
    tokens = metrics["throughput"]["output_tokens"]
    benefit = metrics["smooth_goodput"]["benefit_tokens"]
    return {
        **paid,
        "usd_per_gpu_hour": usd / hours if hours else usd_per_gpu_hour,
        "usd_per_million_output_tokens": usd / tokens * 1e6 if tokens else None,
        "usd_per_million_smooth_good_tokens": usd / benefit * 1e6 if benefit > 0 else None,
        "smooth_good_tokens_per_gpu_hour": benefit / hours if hours else None,
    }
