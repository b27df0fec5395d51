"""All metrics of a log in one dictionary."""

import importlib
import pkgutil
from typing import Any

import simulator.metrics
from simulator.metrics.log import RequestLog
from simulator.metrics.options import Slo, UserModel

# What the metrics are made from; every other file of the package is a metric.
_SUPPORT = frozenset({"distribution", "log", "options", "reader", "segments", "summary"})


def metric_names() -> list[str]:
    """Return the names of all metric families, sorted: the files of this package that are not support."""
    files = pkgutil.iter_modules(simulator.metrics.__path__)
    return sorted(file.name for file in files if file.name not in _SUPPORT)


def summarise(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return every metric family's measures under the family's name, in sorted order.

    Values are plain numbers, strings, booleans, None and dictionaries of them, ready for JSON; None stands
    for a value that does not exist (the mean of nothing, a rate over no time, a bound that was not set).
    """
    summary: dict[str, Any] = {}
    for name in metric_names():
        metric = importlib.import_module(f"simulator.metrics.{name}")
        summary[name] = metric.measure(log, user, slo)
    return summary
