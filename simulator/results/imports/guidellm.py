"""The JSON report of guidellm (``benchmarks.json``): one run a benchmark, its requests by how they ended.

Of an answer only the first and the last token have times (``RequestTimings`` in ``guidellm/schemas``; before 0.4
``start_time``, ``first_token_time``, ``last_token_time``, ``end_time`` of the request itself). Seconds since 1970.
"""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest, ServedRun, served_run
from simulator.results.imports._values import rows, seconds, table, text, tokens

TOOL = "guidellm"
_ENDED = {
    "successful": RequestState.COMPLETED,
    "incomplete": RequestState.UNFINISHED,
    "errored": RequestState.FAILED,
}
_NAMES = {  # of each time, the newest first
    "sent": ("request_start", "start_time"),
    "first": ("first_token_iteration", "first_iteration", "first_token_time"),
    "last": ("last_token_iteration", "last_iteration", "last_token_time"),
    "end": ("request_end", "end_time"),
}


def recognises(values: list[Any]) -> bool:
    """Whether the only value has benchmarks with requests or sums of them."""
    found = values[0]
    benchmarks = found.get("benchmarks") if isinstance(found, dict) else None
    return (
        len(values) == 1
        and isinstance(benchmarks, list)
        and all(isinstance(each, dict) and ("requests" in each or "metrics" in each) for each in benchmarks)
    )


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return a run a benchmark."""
    benchmarks = values[0]["benchmarks"]
    args = values[0].get("args")
    model = text(args.get("model")) if isinstance(args, dict) else None
    runs = []
    for i, benchmark in enumerate(benchmarks):
        where = f"{path}: benchmarks[{i}]"
        if not isinstance(benchmark.get("requests"), dict):
            raise InputError(
                f"{where}: only sums of {TOOL}, which cannot be scored; expected requests, as the JSON report has them"
            )
        name = path.name if len(benchmarks) == 1 else f"{path.name}, benchmark {i + 1}"
        found = [
            (f"{where}.requests.{ended}[{j}]", table(each, f"{where}.requests.{ended}[{j}]"), state)
            for ended, state in _ENDED.items()
            for j, each in enumerate(
                rows(benchmark["requests"].get(ended) or [], f"{where}.requests.{ended}")
            )
        ]
        if not found:
            raise InputError(f"{where}: no requests; expected some")
        sent_s = [_time(each, "sent", place) for place, each, _ in found]
        known_s = [each for each in sent_s if each is not None]
        if not known_s:
            raise InputError(f"{found[0][0]}: request_start is not there; expected seconds since 1970")
        never_sent = len(sent_s) - len(known_s)
        requests = [
            _request(place, each, state, at_s, min(known_s))
            for (place, each, state), at_s in zip(found, sent_s, strict=True)
            if at_s is not None
        ]
        notes = [f"{never_sent:,} requests were never sent and are left out"] if never_sent else []
        runs.append(served_run(name, TOOL, requests, notes=notes, model=model))
    return runs


def _request(
    where: str, row: dict[str, Any], state: RequestState, sent_s: float, zero_s: float
) -> ServedRequest:
    arrival_s = sent_s - zero_s
    first_s, last_s, end_s = (_time(row, name, where) for name in ("first", "last", "end"))
    prompt, output = _tokens(row, "prompt", where), _tokens(row, "output", where)
    over_s = None if end_s is None else end_s - zero_s
    completed = state is RequestState.COMPLETED
    if first_s is None or not output:
        if not completed:
            return ServedRequest(where, arrival_s, prompt, 0, state=state, end_s=over_s)
        if over_s is None or not output:
            missing = "output_tokens" if not output else "request_end"
            raise InputError(f"{where}: {missing} is not there; expected it of a request that completed")
        first = last = over_s  # not streamed: all of it comes at its end
    else:
        first = first_s - zero_s
        last = first if last_s is None else last_s - zero_s
    return ServedRequest(
        where, arrival_s, prompt, output, first_s=first, last_s=last, state=state, end_s=over_s
    )


def _time(row: dict[str, Any], which: str, where: str) -> float | None:
    info, old = row.get("info"), row.get("scheduler_info")
    places = (
        info.get("timings") if isinstance(info, dict) else None,
        old.get("request_timings") if isinstance(old, dict) else None,
        row,
    )
    for timings in (each for each in places if isinstance(each, dict)):
        for name in _NAMES[which]:
            if timings.get(name) is not None:
                return seconds(timings[name], f"{where}: {name}")
    return None


def _tokens(row: dict[str, Any], which: str, where: str) -> int | None:
    name = f"{which}_tokens"
    if row.get(name) is not None:
        return tokens(row[name], f"{where}: {name}")
    key = f"{'input' if which == 'prompt' else which}_metrics"
    inner = row.get(key)
    for name in ("total_tokens", "text_tokens"):
        if isinstance(inner, dict) and inner.get(name) is not None:
            return tokens(inner[name], f"{where}: {key}.{name}")
    return None
