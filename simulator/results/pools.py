"""What each pool of unlike replicas served, and what it cost, beside the numbers of the whole run."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from simulator.arrays import Columns, Flags
from simulator.metrics import RequestLog, summarise
from simulator.metrics._streamed import NoTokensError
from simulator.metrics._window import widened
from simulator.results.billing import bills
from simulator.results.measures import log_of, pooled
from simulator.results.scoring import Scoring

_POOLED = "pooled_by_pool"  # the key of a manifest


def with_pools(
    metrics: Mapping[str, Any],
    log: RequestLog,
    requests: Columns,
    manifest: Mapping[str, Any],
    scaling: Columns | None,
    by: Scoring,
) -> dict[str, Any]:
    """Return the metrics of all requests with ``pools`` beside them where pools have names: the same of each.

    A request is of the pool that served it last; one that none served is of no pool. ``log`` is of the whole run,
    ``requests`` are its columns. ``cost`` of a pool is what all its replicas cost in the window, US$.
    """
    if not _have_names(manifest) or "replica" not in requests:
        return dict(metrics)
    window, found = metrics["window"], dict[str, Any]()
    paid = bills(manifest, scaling, window["start_s"], window["end_s"])
    logs = _logs(log, requests, manifest, by)
    for (pool, rows, served), (gpu_s, usd) in zip(logs, paid, strict=True):
        try:
            own: dict[str, Any] = summarise(served, by.user, by.slo, by.also)
        except NoTokensError as error:
            own = {"not_measured": str(error)}
        tokens = int(requests["delivered_tokens"][rows].sum())
        found[pool["name"]] = {
            "model": pool["model"],
            **own,
            "requests": int(rows.sum()),
            "cost": {
                "gpu_hours": gpu_s / 3600,
                "usd": usd,
                "usd_per_million_output_tokens": usd / tokens * 1e6 if tokens else None,
            },
        }
    return {**metrics, "pools": found}


def pooled_by_pool(
    log: RequestLog, requests: Columns, manifest: Mapping[str, Any], by: Scoring
) -> dict[str, Any]:
    """Return what was pooled over all tokens that each pool served, to be saved; nothing without names."""
    if not _have_names(manifest) or "replica" not in requests:
        return {}
    logs = _logs(log, requests, manifest, by)
    return {_POOLED: {pool["name"]: pooled(served, by.user) for pool, _, served in logs}}


def _have_names(manifest: Mapping[str, Any]) -> bool:
    return any("name" in each for each in manifest["pools"])


def _logs(
    log: RequestLog, requests: Columns, manifest: Mapping[str, Any], by: Scoring
) -> Iterator[tuple[Mapping[str, Any], Flags, RequestLog]]:
    """Yield each pool, which requests it served, and the log of those of them that arrived in the run's window."""
    whole, saved, first = widened(log, by.window), manifest.get(_POOLED, {}), 0
    for pool in manifest["pools"]:
        last = first + pool["places"]
        rows = np.asarray((requests["replica"] >= first) & (requests["replica"] < last))
        yield pool, rows, log_of(whole, rows, saved.get(pool["name"], {}), by.user)
        first = last
