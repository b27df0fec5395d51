"""The JSON file that ``vllm bench serve --save-result --save-detailed`` writes.

All requests are in it, also those that a summary trims. What the run does not tell is left out: date, backend,
tokenizer, texts, and ``request_rate`` of traffic that has none; below the trace level "tokens", what is made of the
times between tokens. As there, requests that did not complete have ``output_lens`` 0 and enter no statistic.
``start_times`` plus ``ttfts`` plus the running sums of ``itls`` are the times of the tokens, to the last bit.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.report.exports._exact import dumps, gaps_s
from simulator.results.result import Result
from simulator.results.trace_level import kept_tables

_SHAPED = ("load", "load_points", "spike_factor", "growth", "session_turns")  # keys of a rate that is none

SUFFIX = ".json"


def export(result: Result, path: Path, *, percentiles: Sequence[float] = (99,)) -> None:
    """Write the file; ``percentiles`` as ``--metric-percentiles`` there.

    Raises InputError for a result of the trace level "summary".
    """
    if not isinstance(percentiles, Sequence) or not all(
        isinstance(each, int | float) and 0 <= each <= 100 for each in percentiles
    ):
        raise InputError(f"percentiles: expected a list of numbers from 0 to 100, got {percentiles!r}")
    log = result.log
    if result.request_columns is not None and (result.request_columns["prompt_tokens"] < 0).any():
        raise InputError(
            "vllm_bench: the file that was scored does not say how long prompts are; expected one that does"
        )
    done = log.completed
    output = np.where(done, log.token_counts, 0)
    lasted_s, tokens_in = log.window_s, int(log.prompt_tokens[done].sum())
    found: dict[str, Any] = {
        "label": result.manifest["scenario"]["name"],
        "model_id": result.manifest["scenario"]["hardware"]["model"],
        "num_prompts": log.n,
        **_traffic(result.manifest["scenario"]["workload"]),
        "duration": lasted_s,
        "completed": int(done.sum()),
        "failed": int(log.n - done.sum()),
        "total_input_tokens": tokens_in,
        "total_output_tokens": int(output.sum()),
        **_rates(lasted_s, int(done.sum()), tokens_in, int(output.sum())),
        "input_lens": log.prompt_tokens.tolist(),
        "output_lens": output.tolist(),
        "ttfts": [_ttft_s(*times) for times in zip(log.arrival_s, log.first_token_s, strict=True)],
        "start_times": log.arrival_s.tolist(),
        "max_concurrent_requests": _most_at_once(log),
    }
    several = done & (output > 1)
    times_s = {"ttft": log.ttft_s[done], "tpot": log.tpot_s[several], "e2el": log.e2e_s[done]}
    if "tokens" in kept_tables(result.trace_level):
        found["itls"] = [gaps for part in log.parts() for gaps in _itls_s(part)]
        found["max_output_tokens_per_s"] = _most_tokens(log)
        gaps_s = [part.gaps_s[np.repeat(part.completed, np.diff(part.gap_offsets))] for part in log.parts()]
        times_s["itl"] = np.concatenate([np.empty(0), *gaps_s])
    for name, values_s in times_s.items():
        found |= _statistics(name, values_s, percentiles)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(found) + "\n", encoding="utf-8")


def _traffic(workload: dict[str, Any]) -> dict[str, Any]:
    """Return how requests were sent, as far as the options of ``vllm bench serve`` can say it."""
    clients = workload.get("concurrency")
    if clients is not None or workload.get("arrivals") == "burst":
        return {"request_rate": "inf", "burstiness": 1.0, "max_concurrency": clients}
    timed = {"poisson": 1.0, "gamma": workload.get("burstiness")}.get(workload.get("arrivals") or "")
    if timed is None or workload.get("rate_rps") is None or any(workload.get(key) for key in _SHAPED):
        return {"max_concurrency": None}
    return {"request_rate": workload["rate_rps"], "burstiness": timed, "max_concurrency": None}


def _rates(lasted_s: float, completed: int, tokens_in: int, tokens_out: int) -> dict[str, float]:
    if lasted_s <= 0:
        return {}
    return {
        "request_throughput": completed / lasted_s,
        "output_throughput": tokens_out / lasted_s,
        "total_token_throughput": (tokens_in + tokens_out) / lasted_s,
    }


def _statistics(name: str, values_s: Floats, percentiles: Sequence[float]) -> dict[str, float]:
    """Return mean, median, standard deviation and percentiles in ms; 0 of nothing, as there."""
    values_ms = 1e3 * (values_s if len(values_s) else np.zeros(1))
    return {
        f"mean_{name}_ms": float(np.mean(values_ms)),
        f"median_{name}_ms": float(np.median(values_ms)),
        f"std_{name}_ms": float(np.std(values_ms)),
        **{f"p{each:g}_{name}_ms": float(np.percentile(values_ms, each)) for each in percentiles},
    }


def _ttft_s(arrival_s: float, first_s: float) -> float | Decimal:
    return 0.0 if np.isnan(first_s) else gaps_s(arrival_s, np.array([first_s]))[0]


def _itls_s(part: RequestLog) -> Iterator[list[float | Decimal]]:
    """Yield the times between the tokens of each request."""
    for first, stop in pairwise(part.token_offsets.tolist()):
        yield gaps_s(part.delivered_s[first], part.delivered_s[first + 1 : stop]) if stop > first else []


def _most_at_once(log: RequestLog) -> int:
    """Return the most completed requests that any second saw, counted from the first arrival of one."""
    done = log.completed
    if not done.any():
        return 0
    arrival_s, last_s = log.arrival_s[done], log.last_token_s[done]
    begins, ends = (np.floor(each - arrival_s.min()).astype(np.int64) for each in (arrival_s, last_s))
    seconds = int(ends.max()) + 2
    return int(
        (np.bincount(begins, minlength=seconds) - np.bincount(ends + 1, minlength=seconds)).cumsum().max()
    )


def _most_tokens(log: RequestLog) -> float:
    """Return the most tokens of completed requests in one second, counted likewise."""
    done = log.completed
    if not done.any():
        return 0.0
    start_s = log.arrival_s[done].min()
    seconds = int(np.floor(np.nanmax(log.last_token_s[done]) - start_s)) + 1
    count = np.zeros(seconds, np.int64)
    for part in log.parts():
        times_s = part.delivered_s[np.repeat(part.completed, part.token_counts)]
        count += np.bincount(np.floor(times_s - start_s).astype(np.int64), minlength=seconds)
    return float(count.max())
