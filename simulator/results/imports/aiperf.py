"""``profile_export.jsonl`` of NVIDIA AIPerf: one line a request, with ``metadata``, ``metrics`` and ``error``.

Times of requests are nanoseconds since 1970; metrics are tables of ``value`` and ``unit``. ``inter_chunk_latency`` has
the times between chunks, which only a streamed answer has (docs/tutorials/working-with-profile-exports.md there).
"""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest, ServedRun, served_run
from simulator.results.imports._values import (
    Number,
    number,
    numbers,
    seconds_after,
    shown,
    table,
    text,
    tokens,
)

TOOL = "AIPerf"
_PER_SECOND = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1, "sec": 1, "seconds": 1}
_LATEST_NS = 2**63  # of the clock


def recognises(values: list[Any]) -> bool:
    """Whether lines have metadata and metrics, or the only value is the tool's table of sums."""
    first = values[0]
    return isinstance(first, dict) and ({"metadata", "metrics"} <= first.keys() or "aiperf_version" in first)


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return the only run, without requests of a warm-up."""
    if "metadata" not in values[0]:
        raise InputError(
            f"{path}: only sums of {TOOL}, which cannot be scored; expected profile_export.jsonl beside it"
        )
    found, warm = [], 0
    for i, value in enumerate(values, 1):
        row = table(value, f"{path}, line {i}: the record")
        metadata = table(row.get("metadata"), f"{path}, line {i}: metadata")
        if metadata.get("benchmark_phase") == "warmup":
            warm += 1
        else:
            found.append((f"{path}, line {i}", metadata, row))
    if not found:
        raise InputError(
            f"{path}: only requests of the warm-up; expected some of benchmark_phase 'profiling'"
        )
    begins = [_clock_ns(metadata, "request_start_ns", where) for where, metadata, _ in found]
    zero_ns = min(begins)
    requests = [
        _request(where, metadata, row, begin_ns, zero_ns)
        for (where, metadata, row), begin_ns in zip(found, begins, strict=True)
    ]
    notes = [f"{warm:,} requests of the warm-up are left out"] if warm else []
    model = text(found[0][1].get("model_name"))
    return [served_run(path.name, TOOL, requests, notes=notes, model=model)]


def _request(
    where: str, metadata: dict[str, Any], row: dict[str, Any], begin_ns: int, zero_ns: int
) -> ServedRequest:
    arrival_s = (begin_ns - zero_ns) / 1e9
    metrics = table(row.get("metrics") or {}, f"{where}: metrics")
    prompt = _tokens(metrics, "input_sequence_length", where)
    cancelled = bool(metadata.get("was_cancelled"))
    if row.get("error") is not None or cancelled:
        prompt = prompt if prompt is not None else _tokens(metrics, "error_isl", where)
        at = "cancellation_time_ns" if metadata.get("cancellation_time_ns") is not None else "request_end_ns"
        end_s = (
            (_clock_ns(metadata, at, where) - zero_ns) / 1e9 if metadata.get(at) is not None else arrival_s
        )
        state = RequestState.ABANDONED_BY_USER if cancelled else RequestState.FAILED
        return ServedRequest(where, arrival_s, prompt, 0, state=state, end_s=max(end_s, arrival_s))
    output = _tokens(metrics, "output_sequence_length", where)
    thinking = _tokens(metrics, "reasoning_token_count", where)
    took = _value(metrics, "request_latency", where)
    first = _value(metrics, "time_to_first_token", where)
    if first is None:  # not streamed: all of it comes at its end
        if took is None:
            raise InputError(f"{where}: request_latency is not there; expected it, or time_to_first_token")
        return ServedRequest(
            where, arrival_s, prompt, output, seconds_after(arrival_s, [took]), thinking_tokens=thinking
        )
    gaps = _gaps(metrics, where)
    if gaps is None and output != 1:
        if took is None or output is None:
            name = "request_latency" if took is None else "output_sequence_length"
            raise InputError(f"{where}: {name} is not there; expected it, or inter_chunk_latency")
        (first_s,), (last_s,) = seconds_after(arrival_s, [first]), seconds_after(arrival_s, [took])
        return ServedRequest(
            where, arrival_s, prompt, output, first_s=first_s, last_s=last_s, thinking_tokens=thinking
        )
    chunks_s = seconds_after(arrival_s, [first, *(gaps or ())])
    return ServedRequest(where, arrival_s, prompt, output, chunks_s, thinking_tokens=thinking)


def _clock_ns(metadata: dict[str, Any], name: str, where: str) -> int:
    value = metadata.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LATEST_NS:
        raise InputError(f"{where}: {name} is {shown(value)}; expected nanoseconds since 1970")
    return value


def _metric(metrics: dict[str, Any], name: str, where: str) -> dict[str, Any] | None:
    return None if metrics.get(name) is None else table(metrics[name], f"{where}: {name}")


def _tokens(metrics: dict[str, Any], name: str, where: str) -> int | None:
    found = _metric(metrics, name, where)
    return None if found is None else tokens(found.get("value"), f"{where}: {name}")


def _value(metrics: dict[str, Any], name: str, where: str) -> Number | None:
    found = _metric(metrics, name, where)
    if found is None:
        return None
    return float(number(found.get("value"), f"{where}: {name}", least=0)) / _per_second(found, name, where)


def _gaps(metrics: dict[str, Any], name_where: str) -> list[Number] | None:
    name = "inter_chunk_latency"
    found = _metric(metrics, name, name_where)
    if found is None:
        return None
    unit = _per_second(found, name, name_where)
    return [float(each) / unit for each in numbers(found.get("value"), f"{name_where}: {name}", least=0)]


def _per_second(found: dict[str, Any], name: str, where: str) -> int:
    unit = found.get("unit")
    if not isinstance(unit, str) or unit not in _PER_SECOND:
        raise InputError(
            f"{where}: the unit of {name} is {shown(unit)}; expected one of {', '.join(_PER_SECOND)}"
        )
    return _PER_SECOND[unit]
