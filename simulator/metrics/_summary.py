"""All metrics of a log in one dictionary."""

import importlib
import pkgutil
from collections.abc import Collection
from functools import cache
from typing import Any

import simulator.metrics
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, checked
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reduce import Marked, reduce
from simulator.metrics._streamed import NoTokensError


def metric_names() -> list[str]:
    """Return the names of all metric families, sorted: the files of this package without an underscore."""
    return list(_names_in(tuple(simulator.metrics.__path__)))


@cache
def _names_in(folders: tuple[str, ...]) -> tuple[str, ...]:
    files = pkgutil.iter_modules(folders)
    return tuple(sorted(file.name for file in files if not file.name.startswith("_")))


def on_request() -> list[str]:
    """Return the names of the families that are measured only where they are asked for."""
    return [name for name in metric_names() if _is_on_request(_metric(name))]


def measures() -> dict[str, Measure]:
    """Return what the files of this package call their numbers, by key: in order of file, then as written there.

    Raises InputError, naming the file, for a MEASURES that is none.
    """
    found: dict[str, Measure] = {}
    for name in metric_names():
        metric = _metric(name)
        found |= checked(name, metric.__file__ or name, getattr(metric, "MEASURES", ()))
    return found


def marked() -> list[Marked]:
    """Return every function that a file of this package marks ``per_request`` or ``pooled``, in order of name."""
    names = ("_log", "_places", "_reader", "_accrued", *metric_names())
    files = [importlib.import_module(f"simulator.metrics.{name}") for name in names]
    found = {each.name: each for file in files for each in vars(file).values() if isinstance(each, Marked)}
    return [found[name] for name in sorted(found)]


def _is_on_request(metric: Any) -> bool:
    return bool(getattr(metric, "ON_REQUEST", False))


def _metric(name: str) -> Any:
    return importlib.import_module(f"simulator.metrics.{name}")


def summarise(log: RequestLog, user: UserModel, slo: Slo, also: Collection[str] = ()) -> dict[str, Any]:
    """Return every metric family's measures under the family's name, in sorted order.

    ``also`` names those of the families ``on_request`` that are wanted.

    Values are plain numbers, strings, booleans, None and dictionaries of them, ready for JSON; None stands
    for a value that does not exist (the mean of nothing, a rate over no time, a bound that was not set). A
    metric that wants to look at all tokens of a log at once, where they are not all there, is
    ``{"not_measured": why}``.
    """
    families = {name: _metric(name) for name in metric_names()}
    functions = marked() if log.n or log.all.n else []
    if log.all.n:
        reduce(log.all, functions, user.reading)
    if log.n and log.run is not None:
        reduce(log, functions, user.reading)
    summary: dict[str, Any] = {}
    for name, metric in families.items():
        if _is_on_request(metric) and name not in also:
            continue
        try:
            summary[name] = metric.measure(log, user, slo)
        except NoTokensError as error:
            summary[name] = {"not_measured": str(error)}
    return summary
