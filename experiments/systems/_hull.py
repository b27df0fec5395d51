"""Quality for its price, as RouterBench scores routers: the area under a hull."""

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]  # price in US$ a request, and quality from 0 to 1


def hull(points: Sequence[Point]) -> list[Point]:
    """Return the points, by price, that no mix of others outdoes in quality for the same price or less."""
    kept: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if kept and y <= kept[-1][1]:
            continue
        while len(kept) > 1 and _steeper((x, y), kept[-1], kept[-2]):
            kept.pop()
        kept.append((x, y))
    return kept


def mean_quality(points: Sequence[Point], low_usd: float, high_usd: float) -> float:
    """Return the mean quality on the hull of some points, over prices from ``low_usd`` to ``high_usd``.

    AIQ of Hu et al., "RouterBench", arXiv 2403.12031; dearer points than ``high_usd`` count up to there. ValueError if
    no point is as cheap as ``low_usd``.
    """
    x, y = np.array(hull(points)).T
    if x[0] > low_usd * (1 + 1e-9):
        raise ValueError(f"expected a point at {low_usd:g} or below, got {x[0]:g} as the cheapest")
    at = np.unique(np.clip([*x, low_usd, high_usd], low_usd, high_usd))
    return float(np.trapezoid(np.interp(at, x, y), at)) / (high_usd - low_usd)


def _steeper(new: Point, last: Point, before: Point) -> bool:
    """Whether the last point lies on or below the line from the one before it to a new one."""
    return (last[1] - before[1]) * (new[0] - before[0]) <= (new[1] - before[1]) * (last[0] - before[0])
