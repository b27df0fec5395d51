"""Who wins: in each cell, a traffic under a load, the best by a metric and those not shown to be worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.league._protocol import League
from simulator.arrays import Floats
from simulator.stats import holm, p_above

Cell = tuple[str, float]  # a traffic and a load
Values = Mapping[str, Floats]  # of one metric in one cell, by scheduler, f64[seeds]
Found = Mapping[tuple[Cell, str], Mapping[str, Floats]]  # by cell and scheduler, then by metric


@dataclass(frozen=True)
class Standing:
    """How one scheduler stands by one metric over all cells."""

    wins: int  # cells in which it is the best, or not shown to be worse than that
    relative: (
        float  # its value over the best one's (or the other way round, if lower is better), geometric mean
    )


def winners(values: Values, better: str, level: float, confidence: float) -> set[str]:
    """Return the best by its mean and all that are not worse: by ``level`` at most, or not shown to be.

    Differences are paired by seed, tested one-sided, and corrected for the number of rivals (Holm). Who is the best is
    chosen by the data, so that a tie is likelier to be called one than a difference: a lead has to be shown.
    """
    sign = 1.0 if better == "higher" else -1.0
    best = max(values, key=lambda name: sign * float(values[name].mean()))
    top = values[best]
    rivals = [name for name in values if name != best]
    worse_by = {name: (sign * (top - values[name])).tolist() for name in rivals}
    margin = level * abs(float(top.mean()))
    shown = holm([p_above(worse_by[name], margin) for name in rivals], confidence)
    return {best, *(name for name, sure in zip(rivals, shown, strict=True) if not sure)}


def standings(found: Found, league: League, cells: Sequence[Cell]) -> dict[tuple[str, str], Standing]:
    """Return how each scheduler stands, by scheduler and metric."""
    names = league.schedulers()
    stand = {}
    for metric, of in league.metrics.items():
        won = dict.fromkeys(names, 0)
        logs: dict[str, list[float]] = {name: [] for name in names}
        for cell in cells:
            values = {name: found[cell, name][metric] for name in names}
            for name in winners(values, of.better, league.level, league.confidence):
                won[name] += 1
            means = {name: float(each.mean()) for name, each in values.items()}
            best = (max if of.better == "higher" else min)(means.values())
            for name, mean in means.items():
                logs[name].append(relative(mean, best, of.better))
        for name in names:
            stand[name, metric] = Standing(won[name], float(np.mean(logs[name])))
    return stand


def relative(mean: float, best: float, better: str) -> float:
    """Return how near a value is to the best: 1 if equal, 0.5 if half (if lower is better: twice), 0 at the least."""
    if mean == best:
        return 1.0
    ahead, behind = (mean, best) if better == "higher" else (best, mean)
    return max(0.0, ahead / behind) if behind > 0 else 0.0


def ranking(stand: Mapping[tuple[str, str], Standing], names: Sequence[str], metric: str) -> list[str]:
    """Return the schedulers by their wins, and then by how near they are to the best."""
    return sorted(names, key=lambda name: (-stand[name, metric].wins, -stand[name, metric].relative, name))


def agreement(stand: Mapping[tuple[str, str], Standing], names: Sequence[str], a: str, b: str) -> float:
    """Return Kendall's tau-b of two metrics over the schedulers, by how near they are to the best; or NaN."""
    from scipy.stats import kendalltau

    near = [[stand[name, metric].relative for name in names] for metric in (a, b)]
    return float(kendalltau(*near).statistic)
