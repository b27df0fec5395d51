"""One run as the page shows it: what was simulated, its numbers, its charts, its requests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.metrics import Slo, UserModel
from simulator.metrics._measure import SHARE_OF
from simulator.metrics._window import Window, measured
from simulator.report.html.curves import distributions, over_time, transfers
from simulator.report.html.readers import readers
from simulator.report.html.requests import slowest_requests
from simulator.report.report import Summary, warnings
from simulator.report.text import number
from simulator.results.result import Result
from simulator.results.vocabulary import vocabulary


def run_document(
    name: str, result: Result, summary: Summary, user: UserModel, slo: Slo, window: Window
) -> dict[str, Any]:
    """Return a run for JSON; the summary is of that user, those targets and that window.

    Raises InputError for a run of which only the summary was kept.
    """
    manifest = result.manifest
    log = measured(result.log, window)
    by_token = _by_token(result)
    slow, missing = slowest_requests(result)
    notes = [*warnings(manifest, summary)]
    if "measured" in manifest:
        notes += manifest["measured"]["notes"]
    return {
        "name": name,
        "facts": facts(manifest, summary),
        "policies": _policies(manifest),
        "values": {
            key: value for key, each in vocabulary().items() if (value := each.of(summary)) is not None
        },
        "counts": _counts(summary),
        "states": {
            key: each["count"] if isinstance(each, Mapping) else each
            for key, each in summary["states"].items()
        },
        "usd": summary.get("cost", {}).get("usd"),
        "notes": notes,
        "spent": _spent(result),
        "distributions": distributions(log, by_token and _each_token(manifest)),
        "time": over_time(result) if by_token else None,
        "transfers": transfers(result),
        "readers": readers(log, user) if by_token and log.all.n else None,
        "slowest": slow,
        "slowest_note": missing,
    }


def _by_token(result: Result) -> bool:
    """Whether the times of all tokens are there."""
    if "measured" in result.manifest:
        return bool(getattr(result, "scored_by_token", False))
    return result.trace_level == "tokens"


def _each_token(manifest: Mapping[str, Any]) -> bool:
    """Whether the times between tokens are known: of a real server they may only be spread evenly."""
    return bool(manifest.get("measured", {}).get("token_times", "each") == "each")


def facts(manifest: Mapping[str, Any], summary: Summary) -> dict[str, str]:
    """Return what was simulated, a few words each: engine, hardware, model, policies, traffic, rate, reader, seed."""
    scenario = manifest["scenario"]
    traffic = summary["traffic"]
    span_s, requests = traffic["arrivals_span_s"], traffic["requests"]
    smooth = summary["smooth_goodput"]
    told = {}
    if "measured" in manifest:
        told["engine"] = f"a real server, measured by {manifest['measured']['tool']}"
    else:
        pools = manifest["pools"]
        told["engine"] = " and ".join(dict.fromkeys(pool.get("engine", "?") for pool in pools))
        told["hardware"] = " + ".join(
            f"{pool['replicas']} x {_cards(pool)}" + ("" if pool["role"] == "both" else f" ({pool['role']})")
            for pool in pools
        )
        told["policy"] = ", ".join(_policies(manifest).values())
    model = scenario["hardware"].get("model")
    if model:
        told["model"] = str(model)
    told["traffic"] = f"{manifest['workload']['source']}, {requests:,} requests"
    if span_s > 0 and requests > 1:
        told["rate"] = f"{number((requests - 1) / span_s, 3)} requests/s"
    if "user_model" in smooth:
        start = "its arrival" if smooth["origin"] == "arrival" else "its first token"
        allowance = smooth["first_token_allowance_s"]
        told["reader"] = (
            f"reader {smooth['user_model']}: a token every {smooth['v_s_per_token']:g} s from {start}"
            f"{f' + {allowance:g} s' if allowance else ''} on"
        )
    if "seed" in scenario:
        told["seed"] = f"seed {scenario['seed']}"
    return told


def _cards(pool: Mapping[str, Any]) -> str:
    size = pool["tensor_parallel_size"] * pool.get("pipeline_parallel_size", 1)
    return f"{f'{size} ' if size > 1 else ''}{pool['gpu']}"


def _policies(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the policies that do something, by kind, without their parameters."""
    if "measured" in manifest:
        return {}
    from simulator.scenario.policy import IDLE_POLICY  # which only scenarios need otherwise

    chosen: dict[Any, Any] = manifest["scenario"]["policy"]
    return {kind: str(each["name"]) for kind, each in chosen.items() if each["name"] != IDLE_POLICY.get(kind)}


def _counts(summary: Summary) -> dict[str, str]:
    """Return of what each number is, in words, where its summary says."""
    found = {}
    for key, each in vocabulary().items():
        at: Any = summary
        for part in key.split(".")[:-1]:
            at = at.get(part, {}) if isinstance(at, Mapping) else {}
        if isinstance(at, Mapping) and "count" in at and "over" in at:
            found[key] = f"{at['count']:,} {at['over']}"
        elif each.unit.startswith(SHARE_OF) and each.unit.endswith("arrived"):
            found[key] = f"{summary['states']['arrived']:,} arrived requests"
    return found


def _spent(result: Result) -> dict[str, float] | None:
    """Return where the time of a request goes, in seconds on average over those with a first token.

    Waiting for its first step, from there to its first token (the prompt), and from there to its last (the answer);
    None where nothing is known of steps.
    """
    columns = result.request_columns
    if columns is None or "measured" in result.manifest:
        return None
    got = ~np.isnan(columns["first_token_s"]) & ~np.isnan(columns["first_scheduled_s"])
    if not got.any():
        return None
    first, began = columns["first_token_s"][got], columns["first_scheduled_s"][got]
    return {
        "queue": float((began - columns["arrival_s"][got]).mean()),
        "prompt": float((first - began).mean()),
        "answer": float((columns["last_token_s"][got] - first).mean()),
    }


def same_facts(runs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return what all runs have in common, and for each what is its own."""
    first = runs[0]["facts"]
    common = {
        key: value for key, value in first.items() if all(run["facts"].get(key) == value for run in runs)
    }
    return common, [{key: value for key, value in run["facts"].items() if key not in common} for run in runs]
