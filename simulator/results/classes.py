"""The metrics of each class of requests, by its own readers and targets, beside those of all."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from simulator.arrays import Columns
from simulator.metrics import RequestLog, summarise
from simulator.metrics._distribution import share
from simulator.metrics._streamed import NoTokensError
from simulator.metrics._window import widened
from simulator.results.measures import log_of, pooled
from simulator.results.scoring import Scoring

_POOLED = "pooled_by_class"  # the key of a manifest
_COLUMN = "traffic_class"
_ADDED_UP = ("requests_meeting_all", "goodput_requests_per_s", "goodput_tokens_per_s")


def class_names(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of a run's classes, in the order of their numbers; none if it has none."""
    return list(manifest["scenario"].get("workload", {}).get("classes") or {})


def with_classes(
    metrics: Mapping[str, Any], log: RequestLog, requests: Columns, manifest: Mapping[str, Any], by: Scoring
) -> dict[str, Any]:
    """Return the metrics of all requests with ``classes`` beside them, if the run has any: the same of each.

    All are over one window. Where classes have bounds, ``slo`` of all requests is that of each by those of its class:
    the sums over the classes that have bounds. ``log`` is of the whole run, ``requests`` are its columns.
    """
    names = class_names(manifest)
    if not names or _COLUMN not in requests:
        return dict(metrics)
    said = manifest["scenario"]["workload"]["classes"]
    found: dict[str, Any] = {}
    for name, own in logs_of_classes(log, requests, manifest, by):
        slo = replace(by.slo, **said[name].get("slo", {}))
        try:
            found[name] = summarise(own, by.user, slo, by.also)
        except NoTokensError as error:
            found[name] = {"not_measured": str(error)}
    bounds = any("slo" in each for each in said.values())
    slo_of_all = {"slo": _slo_of_all(metrics["slo"], found)} if bounds else {}
    return {**metrics, **slo_of_all, "classes": found}


def logs_of_classes(
    log: RequestLog, requests: Columns, manifest: Mapping[str, Any], by: Scoring
) -> Iterator[tuple[str, RequestLog]]:
    """Yield the name of each class and the log of its requests that arrived in the window of the whole run."""
    whole, pools = widened(log, by.window), manifest.get(_POOLED, {})
    for number, name in enumerate(class_names(manifest)):
        yield name, log_of(whole, requests[_COLUMN] == number, pools.get(name, {}), by.user)


def pooled_by_class(
    log: RequestLog, requests: Columns, manifest: Mapping[str, Any], by: Scoring
) -> dict[str, Any]:
    """Return what was pooled over all tokens of each class, to be saved in the manifest; nothing without classes."""
    if _COLUMN not in requests:
        return {}
    found = {name: pooled(own, by.user) for name, own in logs_of_classes(log, requests, manifest, by)}
    return {_POOLED: found} if found else {}


def _slo_of_all(slo: Mapping[str, Any], classes: Mapping[str, Any]) -> dict[str, Any]:
    with_bounds = [
        each for each in classes.values() if each.get("slo", {}).get("requests_meeting_all") is not None
    ]
    if not with_bounds:
        return dict(slo)
    sums = {key: _sum([each["slo"][key] for each in with_bounds]) for key in _ADDED_UP}
    arrived = sum(each["states"]["arrived"] for each in with_bounds)
    return {
        **slo,
        **sums,
        "attainment_all": share(int(sums["requests_meeting_all"] or 0), arrived),
        "bounds_are": "those of each request's class",
    }


def _sum(values: list[Any]) -> float | int | None:
    return None if any(each is None for each in values) else sum(values)
