"""What studies of systems measure of their runs, case by case."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from experiments.paper._reproduce import Study
from simulator.arrays import Floats
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

Key = TypeVar("Key", bound=Hashable)
Numbers = Mapping[str, Floats]  # of a case, by name, f64[seeds]
KEPT = 0.9  # share of requests within their bounds at the capacity


def gathered(
    study: Study,
    cases: Mapping[Key, list[Scenario]],
    looked_at: Callable[[Result, Any], dict[str, float]],
    label: str,
) -> dict[Key, Numbers]:
    """Return, of each case, the numbers that are looked at of its scenarios, f64[scenarios]."""
    flat = [each for scenarios in cases.values() for each in scenarios]
    rows = iter(study.each(flat, looked_at, label=label))
    found: dict[Key, Numbers] = {}
    for key, scenarios in cases.items():
        mine = [next(rows) for _ in scenarios]
        found[key] = {name: np.array([row[name] for row in mine]) for name in mine[0]}
    return found


def means(
    found: Mapping[Key, Numbers], cases: Sequence[Key], columns: Mapping[str, tuple[str, float, str]]
) -> dict[str, list[str]]:
    """Return columns of a table, a row a case; by head: which number, times what, and its form."""
    return {
        head: [format(scale * float(found[case][name].mean()), form) for case in cases]
        for head, (name, scale, form) in columns.items()
    }


def best(found: Mapping[str, Numbers], name: str) -> tuple[str, bool]:
    """Return who has most of a number, and whether it is shown to be more than the second has."""
    first, second, *_ = sorted(found, key=lambda way: -found[way][name].mean())
    return first, paired(found[first][name].tolist(), found[second][name].tolist()).above_zero


def ratio(a: Numbers, b: Numbers, name: str) -> Interval:
    """Return ``a`` over ``b``, seed by seed."""
    return interval((a[name] / b[name]).tolist())


def capacity(rates: Sequence[float], kept: Sequence[Floats], least: float = KEPT) -> Floats:
    """Return the rate at which attainment falls below ``least`` for good, f64[seeds]; the first one if always."""
    found = []
    for mine in np.array(kept).T:
        above = np.flatnonzero(mine >= least)
        last = int(above[-1]) if len(above) else 0
        if last + 1 == len(rates) or not len(above):
            found.append(rates[last])
            continue
        share = (mine[last] - least) / (mine[last] - mine[last + 1])
        found.append(rates[last] * (rates[last + 1] / rates[last]) ** share)
    return np.array(found)
