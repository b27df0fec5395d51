"""What the charts of a run draw: distributions over requests, load over time, and KV caches that moved."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.metrics import RequestLog
from simulator.results.billing import mean_over_bins
from simulator.results.result import Result
from simulator.results.step_totals import bin_edges

BINS = 480  # of time, so that there is something to zoom into
MOST_TRANSFERS = 3000
_RANKS = 160  # points of a distribution, evenly spaced, and as many in its last hundredth
_GAP_EDGES_S = np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 801)])


def distributions(log: RequestLog, gaps: bool) -> dict[str, Any]:
    """Return points of each latency's distribution: at most so many seconds, and the share of what has it.

    The shares are of arrived requests, so those without a value keep it below 1; of ``tbt``, of all gaps between
    tokens, counted in bins that are 2 % wide.
    """
    found = {
        "ttft": _points(log.ttft_s, log.n),
        "tpot": _points(log.tpot_s, log.n),
        "e2e": _points(log.e2e_s, log.n),
    }
    if gaps:
        counts = np.zeros(len(_GAP_EDGES_S) - 1)
        for part in log.parts():
            counts += np.histogram(part.gaps_s, _GAP_EDGES_S)[0]
        if counts.any():
            inside = np.flatnonzero(counts)
            used = slice(max(inside[0] - 1, 0), inside[-1] + 1)
            shares = np.cumsum(counts)[used] / counts.sum()
            found["tbt"] = {"s": _rounded(_GAP_EDGES_S[1:][used]), "share": _rounded(shares, 6)}
    return found


def _points(values_s: Floats, arrived: int) -> dict[str, list[float]]:
    ordered = np.sort(values_s[~np.isnan(values_s)])
    n = len(ordered)
    if n == 0:
        return {"s": [], "share": []}
    ranks = np.concatenate([np.linspace(0, n - 1, _RANKS), np.linspace(0.99 * (n - 1), n - 1, _RANKS)])
    rows = np.unique(ranks.astype(np.int64))
    return {"s": _rounded(ordered[rows]), "share": _rounded((rows + 1) / arrived, 6)}


def over_time(result: Result) -> dict[str, Any] | None:
    """Return means over equal bins of time: arrivals and tokens a second, requests running and waiting, KV in use.

    Of a real server the engine is not known: running are
    the requests that get tokens, waiting those before their first. None for a run that took no time.
    """
    log = result.measured.all
    edges = bin_edges(log.arrival_s, log.end_s, BINS)
    if edges is None:
        return None
    width_s = float(edges[1] - edges[0])
    tokens = np.zeros(BINS)
    for part in log.parts():
        tokens += np.histogram(part.delivered_s, edges)[0]
    found: dict[str, Any] = {
        "first_s": float(edges[0]),
        "width_s": width_s,
        "arrivals_per_s": _rounded(np.histogram(log.arrival_s, edges)[0] / width_s),
        "tokens_per_s": _rounded(tokens / width_s),
        "window_s": [log.start_s, log.end_of_run_s],
    }
    load = result.load_over_time(BINS)
    if load is not None:
        blocks = max(float(result.usable_blocks.sum()), 1.0)
        found |= {
            "running": _rounded(load.running),
            "waiting": _rounded(load.waiting),
            "kv_share": _rounded(load.kv_blocks_used / blocks),
        }
    elif "measured" in result.manifest:
        began_s = np.where(np.isnan(log.first_token_s), log.end_s, log.first_token_s)
        found |= {
            "running": _rounded(mean_over_bins(began_s, log.end_s, edges)),
            "waiting": _rounded(mean_over_bins(log.arrival_s, began_s, edges)),
        }
    scaling = result.scaling_columns
    if scaling is not None:
        found["replicas"] = _rounded(mean_over_bins(scaling["ready_s"], scaling["released_s"], edges))
    return found


def transfers(result: Result) -> dict[str, Any] | None:
    """Return the KV caches that went from replica to replica, at most ``MOST_TRANSFERS``; None if none did.

    Of more, those that took longest are left: the others would not be seen.
    """
    table = result.transfers()
    if table is None:
        return None
    columns: Mapping[str, Any] = {name: table[name].to_numpy(zero_copy_only=False) for name in _MOVED}
    took_s = columns["end_s"] - columns["start_s"]
    rows = np.sort(np.argsort(-took_s, kind="stable")[:MOST_TRANSFERS])
    return {
        "count": len(took_s),
        "kind": [str(each) for each in columns["kind"][rows]],
        "from": columns["source"][rows].tolist(),
        "to": columns["destination"][rows].tolist(),
        "request": columns["request_id"][rows].tolist(),
        "start_s": _rounded(columns["start_s"][rows], 9),
        "took_s": _rounded(took_s[rows]),
        "bytes": _rounded(columns["bytes"][rows]),
        "arrived": columns["arrived"][rows].tolist(),
    }


_MOVED = ("kind", "source", "destination", "request_id", "start_s", "end_s", "bytes", "arrived")


def _rounded(values: Any, digits: int = 4) -> list[float]:
    """Return numbers with so many significant digits, which no chart shows more of."""
    return [float(f"{each:.{digits}g}") for each in np.asarray(values, np.float64).tolist()]
