"""What a run's summary says of the engine: steps, KV memory, prefix caches, moves of KV caches."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.arrays import Columns, median
from simulator.metrics import Measure, RequestLog
from simulator.results import drafts
from simulator.results.billing import service_s
from simulator.results.step_totals import StepTotals
from simulator.results.transfer_table import hand_over_parts

MEASURES = (
    Measure("engine.busy_share", "busy", "share of the time", shown=()),
    Measure("engine.kv_usage_mean", "KV blocks in use, mean", "share of blocks", shown=()),
    Measure("engine.kv_usage_max", "KV blocks in use, most", "share of blocks", shown=()),
    Measure("engine.preemptions", "preemptions", "times", shown=("ranking",), least=0),
    Measure("engine.waiting_mean", "waiting, mean", "requests on a replica", shown=(), least=0),
    Measure("engine.waiting_max", "waiting, most", "requests on a replica", shown=(), least=0),
    Measure("engine.running_mean", "mean batch", "requests on a replica", shown=(), least=0),
    Measure("engine.running_max", "running, most", "requests on a replica", shown=(), least=0),
    Measure("engine.extrapolated_share", "extrapolated", "share of the busy time", shown=()),
    Measure(
        "engine.prefix_hit_share", "prefix cache hits", "share of looked up", True,
        shown=("compare",),
    ),
    *(
        Measure(f"engine.{kind}_hit_share", f"found in {where}", "share of looked up", True, shown=())
        for kind, where in (("gpu", "the GPU"), ("host", "host memory"), ("disk", "disk"), ("shared", "a shared store"))
    ),
    Measure("engine.prefix_found_again_tokens", "found again after preemptions", "tokens", shown=(), least=0),
    *drafts.MEASURES,
)  # fmt: skip


def traffic_summary(log: RequestLog) -> dict[str, Any]:
    """What arrived in all, before anything was trimmed."""
    return {
        "requests": log.n,
        "arrivals_span_s": float(log.arrival_s[-1] - log.arrival_s[0]) if log.n else 0.0,
        "prompt_tokens": int(log.prompt_tokens.sum()),
        "output_tokens": int(log.output_tokens.sum()),
    }


def engine_summary(
    totals: StepTotals,
    log: RequestLog,
    manifest: Mapping[str, Any],
    transfers: Columns | None,
    scaling: Columns | None,
) -> dict[str, Any]:
    """Return plain numbers, ready for JSON."""
    busy_s = totals.busy_s
    window_s = service_s(manifest, scaling, log.start_s, log.end_of_run_s)
    return {
        **_profile(manifest),
        "steps": totals.steps,
        "busy_share": busy_s / window_s if window_s else 0.0,
        "kv_usage_mean": totals.kv_share_s / busy_s if busy_s else 0.0,
        "kv_usage_max": totals.kv_share_max,
        "kv_nearly_full_share": totals.kv_nearly_full_s / busy_s if busy_s else 0.0,
        "preemptions": totals.preemptions,
        "waiting_mean": None if totals.waiting_s is None or not busy_s else totals.waiting_s / busy_s,
        "waiting_max": totals.waiting_max,
        "running_mean": None if totals.running_s is None or not busy_s else totals.running_s / busy_s,
        "running_max": totals.running_max,
        "cut_at_max_model_len": int(np.count_nonzero(log.completed & (log.token_counts < log.output_tokens))),
        "extrapolated_share": manifest["extrapolated_share"],
        **_prefix_cache(manifest),
        **_tiers(manifest),
        **drafts.summary(manifest),
        **_moves(transfers),
    }


def _moves(transfers: Columns | None) -> dict[str, Any]:
    """How many KV caches went from replica to replica, and how long they took; nothing where none did."""
    found: dict[str, Any] = {}
    for kind in ("hand_off", "migration") if transfers is not None else ():
        assert transfers is not None
        mine = transfers["kind"] == kind
        arrived = mine & transfers["arrived"]
        if mine.any():
            took_s = (transfers["end_s"] - transfers["start_s"])[arrived]
            found |= {
                f"{kind}s": int(arrived.sum()),
                f"{kind}s_called_off": int(mine.sum() - arrived.sum()),
                f"{kind}_bytes": float(transfers["bytes"][mine].sum()),
                f"{kind}_s_mean": float(took_s.mean()) if len(took_s) else None,
            }
    if "hand_offs" in found and transfers is not None and "delivered_s" in transfers:
        parts = hand_over_parts(transfers)
        if len(parts["total"]):
            found["hand_over_s"] = {
                name: {"mean": float(part.mean()), "p50": median(part)} for name, part in parts.items()
            }
    return found


def _profile(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Name the engine, of both roles where they differ; nothing for runs that were saved without it."""
    names = dict.fromkeys(pool["engine"] for pool in manifest.get("pools", ()) if "engine" in pool)
    return {"profile": " and ".join(names)} if names else {}


def _tiers(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What each tier of KV gave of the tokens looked up, the GPU first, and moved; nothing without tiers."""
    rows = manifest.get("kv_tiers")
    if rows is None:
        return {}
    looked_up = manifest["prefix_cache"]["looked_up_tokens"]
    shares = {
        f"{row['kind']}_hit_share": row["hit_tokens"] / looked_up if looked_up else None for row in rows
    }
    return {"kv_tiers": rows, **shares}


def _prefix_cache(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the prefix caches found; nothing where there was none."""
    counts = manifest.get("prefix_cache")
    if counts is None:
        return {}
    hit, looked_up = counts["hit_tokens"], counts["looked_up_tokens"]
    return {
        "prefix_hit_tokens": hit,
        "prefix_looked_up_tokens": looked_up,
        "prefix_hit_share": hit / looked_up if looked_up else None,
        "prefix_found_again_tokens": counts.get("found_again_tokens", 0),
        "prefix_looked_up_again_tokens": counts.get("looked_up_again_tokens", 0),
    }
