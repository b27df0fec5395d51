"""``per_request_lifecycle_metrics.json`` of inference-perf (kubernetes-sigs): one entry a request.

Seconds on the client's clock. ``output_token_times`` are those of chunks; an answer that was not streamed has none.
Newer files have the tokens of prompt and answer in ``request_metrics`` and ``response_metrics`` of ``info``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest, ServedRun, served_run
from simulator.results.imports._values import numbers, seconds, table, tokens

TOOL = "inference-perf"


def recognises(values: list[Any]) -> bool:
    """Whether the only value is a list of requests with times, or a report of sums."""
    found = values[0]
    if len(values) != 1:
        return False
    if isinstance(found, dict):
        return "load_summary" in found and "successes" in found
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict) and "start_time" in found[0]


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return the only run."""
    if isinstance(values[0], dict):
        raise InputError(
            f"{path}: only sums of {TOOL}, which cannot be scored; expected per_request_lifecycle_metrics.json,"
            " which it writes with report.request_lifecycle.per_request: true"
        )
    listed = [table(each, f"{path}: request {i}") for i, each in enumerate(values[0])]
    sent_s = [
        seconds(each.get("start_time"), f"{path}: request {i}: start_time") for i, each in enumerate(listed)
    ]
    zero_s = min(sent_s)
    requests = [
        _request(f"{path}: request {i}", each, at_s, zero_s)
        for i, (each, at_s) in enumerate(zip(listed, sent_s, strict=True))
    ]
    return [served_run(path.name, TOOL, requests)]


def _request(where: str, row: dict[str, Any], sent_s: float, zero_s: float) -> ServedRequest:
    end_s = seconds(row.get("end_time"), f"{where}: end_time") - zero_s
    info = table(row.get("info") or {}, f"{where}: info")
    asked, answered = (info.get(f"{name}_metrics") for name in ("request", "response"))
    words = asked.get("text") if isinstance(asked, dict) else None
    prompt = _tokens(words if isinstance(words, dict) else info, "input_tokens", where)
    answer = answered if isinstance(answered, dict) else info
    output = _tokens(answer, "output_tokens", where)
    arrival_s = sent_s - zero_s
    if row.get("error") is not None or output == 0:
        return ServedRequest(
            where, arrival_s, prompt, 0, state=RequestState.FAILED, end_s=max(end_s, arrival_s)
        )
    times_s = numbers(answer.get("output_token_times") or [], f"{where}: output_token_times")
    chunks_s = np.array([float(each) - zero_s for each in times_s] or [end_s])
    return ServedRequest(where, arrival_s, prompt, output, chunks_s)


def _tokens(found: dict[str, Any], name: str, where: str) -> int | None:
    return None if found.get(name) is None else tokens(found[name], f"{where}: {name}")
