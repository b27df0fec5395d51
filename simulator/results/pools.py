"""What each pool of unlike replicas served, and what it cost, beside the numbers of the whole run."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from simulator.arrays import Columns, Flags
from simulator.metrics import RequestLog, summarise
from simulator.metrics._picked import picked
from simulator.metrics._streamed import NoTokensError
from simulator.metrics._window import arrived_within, widened
from simulator.results.billing import bills
from simulator.results.scoring import Scoring


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
    window = metrics["window"]
    named = [each for each in manifest["pools"] if "name" in each]
    if not named or "replica" not in requests:
        return dict(metrics)
    whole, found = widened(log, by.window), dict[str, Any]()
    paid = bills(manifest, scaling, window["start_s"], window["end_s"])
    for (pool, rows), (gpu_s, usd) in zip(_rows(manifest, requests), paid, strict=True):
        try:
            own: dict[str, Any] = summarise(arrived_within(picked(whole, rows, {})), by.user, by.slo, by.also)
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


def _rows(manifest: Mapping[str, Any], requests: Columns) -> Iterator[tuple[Mapping[str, Any], Flags]]:
    """Yield each pool and which requests it served."""
    first = 0
    for pool in manifest["pools"]:
        last = first + pool["places"]
        yield pool, np.asarray((requests["replica"] >= first) & (requests["replica"] < last))
        first = last
