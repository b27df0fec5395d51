"""The JSON report of guidellm (``benchmarks.json``, version 2 of its schema), which guidellm loads, and our reader too.

Of an answer only the first and the last token have times, as there. Times are simulated seconds. All requests are in
it: those that completed are successful, those that the end of the run cut off incomplete, all others errored.
Statistics are over these groups; of those that did not complete, latencies end when the request left. What a
simulation has not (delays of the load generator) is 0, what it does not know (words, images) is left out.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Columns, Flags, Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.result import Result

VERSION = 2  # of the schema
_LIKE = "0.8.1"  # the version of guidellm whose schema this is
_PERCENTILES = {
    "p001": 0.1, "p01": 1, "p05": 5, "p10": 10, "p25": 25, "p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99,
    "p999": 99.9,
}  # fmt: skip
_DELAYS = (
    "queued_time_avg", "resolve_start_delay_avg", "resolve_targeted_start_delay_avg", "request_start_delay_avg",
    "request_targeted_start_delay_avg", "resolve_end_delay_avg", "finalized_delay_avg", "processed_delay_avg",
)  # fmt: skip
_TARGET = "http://servesim.invalid"  # a name that leads nowhere (RFC 2606): nothing was served
_UNKNOWN = {
    "text": ("tokens", "words", "characters"),
    "image": ("tokens", "images", "pixels", "bytes"),
    "video": ("tokens", "frames", "seconds", "bytes"),
    "audio": ("tokens", "samples", "seconds", "bytes"),
    "tool_call": ("tokens", "mixed_tokens", "count"),
}

SUFFIX = ".json"


def export(result: Result, path: Path) -> None:
    """Write the file.

    Raises InputError for a result of the trace level "summary", and for one that does not say how long prompts are.
    """
    table = result.requests()
    columns: Columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    if (columns["prompt_tokens"] < 0).any():
        raise InputError("guidellm: this result does not say how long prompts are; expected one that does")
    columns["end_s"] = np.fmax(columns["end_s"].astype(np.float64), columns["last_token_s"])
    columns["end_s"] = np.where(np.isnan(columns["end_s"]), result.log.end_of_run_s, columns["end_s"])
    groups = _groups(result)
    scenario = result.manifest["scenario"]
    profile, strategy = {"kind": "replay"}, {"type_": "trace"}
    lengths = {name: _mean(columns[name]) for name in ("prompt_tokens", "output_tokens")}
    data = [{"kind": "synthetic_text", **lengths}]
    backend = {"kind": "openai_http", "target": _TARGET, "model": scenario.get("hardware", {}).get("model")}
    found = {
        "metadata": {
            "version": VERSION, "guidellm_version": _LIKE, "python_version": "", "platform": "servesim",
        },
        "config": {"spec": {"backend": backend, "profile": profile, "data": data}},
        "benchmarks": [
            {
                "type_": "generative_benchmark",
                "config": {
                    "id_": scenario["name"], "run_id": scenario["name"], "run_index": 0, "strategy": strategy,
                    "constraints": {}, "profile": profile, "requests": {}, "backend": backend, "environment": {},
                },
                "scheduler_state": {},
                "scheduler_metrics": _scheduler(columns, groups, result.log.start_s),
                "metrics": _metrics(columns, groups),
                "requests": {name: _requests(columns, rows, name) for name, rows in groups.items()} | {"total": None},
            }
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, allow_nan=False) + "\n", encoding="utf-8")


def _mean(tokens: Ints) -> int:
    return max(1, round(float(tokens.mean()))) if len(tokens) else 1


def _groups(result: Result) -> dict[str, Flags]:
    """Return which requests ended how, in guidellm's words."""
    state = result.log.state
    cut = np.isin(state, [RequestState.UNFINISHED])
    return {"successful": result.log.completed, "errored": ~(result.log.completed | cut), "incomplete": cut}


def _requests(columns: Columns, rows: Flags, status: str) -> list[dict[str, Any]]:
    """Return the records of some requests."""
    names = (
        "request_id",
        "arrival_s",
        "prompt_tokens",
        "delivered_tokens",
        "first_token_s",
        "last_token_s",
        "end_s",
    )
    values = (columns[name][rows].tolist() for name in names)
    word = {"successful": "completed", "errored": "errored", "incomplete": "cancelled"}[status]
    found = []
    for request, arrival_s, prompt, tokens, first_s, last_s, end_s in zip(*values, strict=True):
        times = {"first_token_iteration": first_s, "last_token_iteration": last_s} if tokens else {}
        timings = {
            "queued": arrival_s, "dequeued": arrival_s, "resolve_start": arrival_s, "request_start": arrival_s,
            **times, "token_iterations": tokens, "request_iterations": tokens, "request_end": end_s,
            "resolve_end": end_s, "finalized": end_s,
        }  # fmt: skip
        found.append(
            {
                "type_": "generative_request_stats",
                "request_id": str(request),
                "info": {"request_id": str(request), "status": word, "timings": timings},
                "input_metrics": {"text_tokens": prompt},
                "output_metrics": {"text_tokens": tokens},
            }
        )
    return found


def _metrics(columns: Columns, groups: dict[str, Flags]) -> dict[str, Any]:
    """Return a summary of each quantity for each group."""
    arrival_s, first_s, last_s, end_s = (
        columns[name].astype(np.float64) for name in ("arrival_s", "first_token_s", "last_token_s", "end_s")
    )
    prompt, output = (columns[name].astype(np.float64) for name in ("prompt_tokens", "delivered_tokens"))
    took_s = end_s - arrival_s
    several, some, lasted = output > 1, output > 0, took_s > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        quantities: dict[str, Floats] = {
            "request_latency": took_s,
            "request_streaming_iterations_count": output,
            "prompt_token_count": prompt,
            "output_token_count": output,
            "total_token_count": prompt + output,
            "time_to_first_token_ms": 1e3 * (first_s - arrival_s),
            "time_to_first_output_token_ms": 1e3 * (first_s - arrival_s),
            "time_per_output_token_ms": np.where(some, 1e3 * (last_s - arrival_s) / output, np.nan),
            "inter_token_latency_ms": np.where(several, 1e3 * (last_s - first_s) / (output - 1), np.nan),
            "prompt_tokens_per_second": np.where(some, prompt / (first_s - arrival_s), np.nan),
            "output_tokens_per_second": np.where(lasted, output / took_s, np.nan),
            "tokens_per_second": np.where(lasted, (prompt + output) / took_s, np.nan),
            "output_tokens_per_iteration": np.where(some, 1.0, np.nan),
            "iter_tokens_per_iteration": np.where(several, 1.0, np.nan),
            "time_to_last_round_trip_ms": np.full(len(output), np.nan),
            "avg_round_trip_time_ms": np.full(len(output), np.nan),
        }
    window_s = float(end_s.max() - arrival_s.min()) if len(end_s) else 0.0
    over_time: dict[str, Callable[[Flags], float]] = {
        "requests_per_second": lambda rows: float(rows.sum()),
        "request_concurrency": lambda rows: float(took_s[rows].sum()),
    }
    return {
        "request_totals": _totals(groups),
        **{name: _by_group(values, groups) for name, values in quantities.items()},
        **{
            name: {
                group: _summary(np.array([amount(rows) / window_s]) if window_s else np.empty(0))
                for group, rows in _with_total(groups).items()
            }
            for name, amount in over_time.items()
        },
        **{kind: dict.fromkeys(names) for kind, names in _UNKNOWN.items()},
    }


def _scheduler(columns: Columns, groups: dict[str, Flags], start_s: float) -> dict[str, Any]:
    last_s = float(columns["end_s"].max()) if len(columns["end_s"]) else start_s
    took_s = columns["end_s"] - columns["arrival_s"]
    mean_s = float(took_s.mean()) if len(took_s) else 0.0
    names = ("start_time", "request_start_time", "measure_start_time")
    return {
        **dict.fromkeys(names, start_s),
        **dict.fromkeys(("measure_end_time", "request_end_time", "end_time"), last_s),
        "requests_made": _totals(groups),
        **dict.fromkeys(_DELAYS, 0.0),
        **dict.fromkeys(("request_time_avg", "resolve_time_avg"), mean_s),
    }


def _totals(groups: dict[str, Flags]) -> dict[str, int]:
    return {name: int(rows.sum()) for name, rows in _with_total(groups).items()}


def _with_total(groups: dict[str, Flags]) -> dict[str, Flags]:
    return groups | {"total": np.logical_or.reduce(list(groups.values()))}


def _by_group(values: Floats, groups: dict[str, Flags]) -> dict[str, Any]:
    return {name: _summary(values[rows & np.isfinite(values)]) for name, rows in _with_total(groups).items()}


def _summary(values: Floats) -> dict[str, Any]:
    """Return guidellm's statistics of some values; 0 of none, as there."""
    some = values if len(values) else np.zeros(1)
    kinds, counts = np.unique(some, return_counts=True)
    return {
        "mean": float(some.mean()),
        "median": float(np.median(some)),
        "mode": float(kinds[counts.argmax()]),
        "variance": float(some.var()),
        "std_dev": float(some.std()),
        "min": float(some.min()),
        "max": float(some.max()),
        "count": len(values),
        "total_sum": float(values.sum()),
        "percentiles": {name: float(np.percentile(some, share)) for name, share in _PERCENTILES.items()},
        "pdf": None,
    }
