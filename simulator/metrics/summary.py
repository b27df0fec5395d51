"""All metrics of a log in one dictionary."""

import importlib
import pkgutil
from typing import Any

import simulator.metrics
from simulator.metrics.log import RequestLog
from simulator.metrics.options import Slo, UserModel
from simulator.metrics.reduce import Marked, reduce
from simulator.metrics.streamed import NoTokensError

# What the metrics are made from; every other file of the package is a metric.
_SUPPORT = frozenset(
    {"distribution", "log", "options", "pool", "reader", "reduce", "segments", "streamed", "summary"}
)


def metric_names() -> list[str]:
    """Return the names of all metric families, sorted: the files of this package that are not support."""
    files = pkgutil.iter_modules(simulator.metrics.__path__)
    return sorted(file.name for file in files if file.name not in _SUPPORT)


def marked() -> list[Marked]:
    """Return every function that a file of this package marks ``per_request`` or ``pooled``, in order of name."""
    files = [
        importlib.import_module(f"simulator.metrics.{name}") for name in ("log", "reader", *metric_names())
    ]
    found = {each.name: each for file in files for each in vars(file).values() if isinstance(each, Marked)}
    return [found[name] for name in sorted(found)]


def summarise(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return every metric family's measures under the family's name, in sorted order.

    Values are plain numbers, strings, booleans, None and dictionaries of them, ready for JSON; None stands
    for a value that does not exist (the mean of nothing, a rate over no time, a bound that was not set). A
    metric that wants to look at all tokens of a log at once, where they are not all there, is
    ``{"not_measured": why}``.
    """
    if log.n:
        reduce(log, marked(), user.reading)
    summary: dict[str, Any] = {}
    for name in metric_names():
        metric = importlib.import_module(f"simulator.metrics.{name}")
        try:
            summary[name] = metric.measure(log, user, slo)
        except NoTokensError as error:
            summary[name] = {"not_measured": str(error)}
    return summary
