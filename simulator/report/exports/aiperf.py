"""The JSON lines of ``profile_export.jsonl``, which NVIDIA AIPerf writes: one line a request.

Times are whole nanoseconds from the start of the simulation and metrics are in milliseconds, as there, so a time is
exact to half a nanosecond. Each token is a chunk of its own. What the run does not tell is left out: identifiers of
workers; below the trace level "tokens", ``inter_chunk_latency``.
"""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.replica.request import RequestState
from simulator.results.result import Result
from simulator.results.trace_level import kept_tables

SUFFIX = ".jsonl"


def export(result: Result, path: Path) -> None:
    """Write the file.

    Raises InputError for a result of the trace level "summary", and for one that does not say how long prompts are.
    """
    log = result.log
    if result.request_columns is not None and (result.request_columns["prompt_tokens"] < 0).any():
        raise InputError("aiperf: this result does not say how long prompts are; expected one that does")
    parts = log.parts() if "tokens" in kept_tables(result.trace_level) else iter([log])
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = count()
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            for record in _records(part, "tokens" in kept_tables(result.trace_level)):
                record["metadata"] = {"session_num": next(numbers), **record["metadata"]}
                file.write(json.dumps(record, allow_nan=False) + "\n")


def _records(log: RequestLog, with_tokens: bool) -> Iterator[dict[str, Any]]:
    offsets = log.token_offsets.tolist()
    for i in range(log.n):
        arrival_s, end_s, done = float(log.arrival_s[i]), float(log.end_s[i]), bool(log.completed[i])
        last_s = float(log.last_token_s[i]) if done else end_s
        cancelled = log.state[i] == RequestState.ABANDONED_BY_USER
        prompt, metrics = int(log.prompt_tokens[i]), {}
        if done:
            times_s = log.delivered_s[offsets[i] : offsets[i + 1]] if with_tokens else None
            tokens = offsets[i + 1] - offsets[i]
            metrics = {
                "input_sequence_length": _metric(prompt, "tokens"),
                "output_sequence_length": _metric(tokens, "tokens"),
                "time_to_first_token": _metric(1e3 * float(log.ttft_s[i]), "ms"),
                "request_latency": _metric(1e3 * (last_s - arrival_s), "ms"),
            }
            if tokens > 1:
                metrics["inter_token_latency"] = _metric(1e3 * float(log.tpot_s[i]), "ms")
            if times_s is not None:
                metrics["inter_chunk_latency"] = _metric((1e3 * np.diff(times_s)).tolist(), "ms")
            if log.thinking_tokens is not None and log.thinking_tokens[i] >= 0:
                metrics["reasoning_token_count"] = _metric(int(log.thinking_tokens[i]), "tokens")
        else:
            metrics = {"error_isl": _metric(prompt, "tokens")}
        yield {
            "metadata": {
                "turn_index": 0,
                "request_start_ns": _ns(arrival_s),
                "request_end_ns": _ns(last_s),
                "benchmark_phase": "profiling",
                "was_cancelled": bool(cancelled),
                "cancellation_time_ns": _ns(end_s) if cancelled else None,
            },
            "metrics": metrics,
            "error": None if done else _error(int(log.state[i])),
        }


def _metric(value: Any, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit}


def _error(state: int) -> dict[str, Any]:
    return {"type": RequestState(state).name.lower(), "message": "the simulated request did not complete"}


def _ns(time_s: float) -> int:
    return round(time_s * 1e9)
