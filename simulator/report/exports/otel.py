"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON, which Jaeger, Tempo and other tracers open.

A trace a session, or a request outside sessions. The span of a request lasts from its arrival to its last token, or to
its end without one; below it a span a phase (queued, prefill, decode, paused, preempted, transfer, delivery), which
follow one another, where the run kept its tokens. Attributes are those of the conventions (``gen_ai.*``), and the
latencies that vLLM's own spans have. Times are nanoseconds since 1970; the simulation begins at ``start_unix_s``.
Our reader of such spans gives arrivals and lengths back; of requests that did not complete, the tokens that they got.
"""

import json
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.report.phases import Histories
from simulator.results.result import Result

INTERNAL, SERVER, ERROR = 1, 2, 2  # span kinds and a status code of OTLP
_LATEST_S = 9e9  # 2255; nanoseconds are 64 bits

SUFFIX = ".json"


def export(result: Result, path: Path, *, start_unix_s: float = 0.0) -> None:
    """Write the file; the simulation begins ``start_unix_s`` seconds after 1970.

    Raises InputError for a result of the trace level "summary" or that does not say how long prompts are, and for a
    start that is no time.
    """
    if isinstance(start_unix_s, bool) or not isinstance(start_unix_s, int | float):
        raise InputError(f"start_unix_s: expected seconds since 1970, got {start_unix_s!r}")
    if not 0 <= start_unix_s <= _LATEST_S:
        raise InputError(
            f"start_unix_s: expected seconds since 1970, up to {_LATEST_S:g}, got {start_unix_s:g}"
        )
    if (result.requests()["prompt_tokens"].to_numpy() < 0).any():
        raise InputError("otel: this result does not say how long prompts are; expected one that does")
    scenario = result.manifest["scenario"]
    resource = {"service.name": "servesim", "service.instance.id": str(scenario["name"])}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(
            f'{{"resourceSpans": [{{"resource": {{"attributes": {json.dumps(_attributes(resource))}}},\n'
        )
        file.write('"scopeSpans": [{"scope": {"name": "servesim"}, "spans": [\n')
        for i, span in enumerate(_spans(result, round(start_unix_s * 1e9))):
            file.write((",\n" if i else "") + json.dumps(span, separators=(",", ":"), allow_nan=False))
        file.write("\n]}]}]}\n")


def _spans(result: Result, start_ns: int) -> Iterator[dict[str, Any]]:
    table = result.requests()
    columns = {name: table[name].to_pylist() for name in table.column_names}
    phased = result.trace_level == "tokens" and result.work() is not None
    histories = Histories.of(result) if phased else None
    numbers = (f"{each:016x}" for each in count(1))
    model = str(result.manifest["scenario"].get("hardware", {}).get("model", "unknown"))
    for request in range(len(table)):
        row = {name: column[request] for name, column in columns.items()}
        session = row.get("session", -1)
        trace = f"{1 + request:032x}" if session is None or session < 0 else f"1{1 + session:031x}"
        own = next(numbers)
        arrival_s = row["arrival_s"]
        end_s = max(each for each in (arrival_s, row["last_token_s"], row["end_s"]) if _is_time(each))
        yield {
            "traceId": trace,
            "spanId": own,
            "name": f"text_completion {model}",
            "kind": SERVER,
            "startTimeUnixNano": _ns(arrival_s, start_ns),
            "endTimeUnixNano": _ns(end_s, start_ns),
            "attributes": _attributes(_of_request(request, row, model, end_s)),
            "events": _events(row, start_ns),
            "status": {} if row["state"] == "completed" else {"code": ERROR, "message": row["state"]},
        }
        for phase in histories.phases(request) if histories is not None else ():
            yield {
                "traceId": trace,
                "spanId": next(numbers),
                "parentSpanId": own,
                "name": phase.doing,
                "kind": INTERNAL,
                "startTimeUnixNano": _ns(phase.start_s, start_ns),
                "endTimeUnixNano": _ns(phase.end_s, start_ns),
                "attributes": _attributes({"servesim.steps": phase.steps} if phase.steps else {}),
                "status": {},
            }


def _of_request(request: int, row: dict[str, Any], model: str, end_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "servesim",
        "gen_ai.request.model": model,
        "gen_ai.request.id": str(request),
        "gen_ai.request.max_tokens": row["output_tokens"],
        "gen_ai.usage.input_tokens": row["prompt_tokens"],
        "gen_ai.usage.output_tokens": row["delivered_tokens"],
        "gen_ai.latency.e2e": end_s - row["arrival_s"],
    }
    if row.get("session") is not None and row.get("session", -1) >= 0:
        found["gen_ai.conversation.id"] = str(row["session"])
    if _is_time(row["first_token_s"]):
        found["gen_ai.latency.time_to_first_token"] = row["first_token_s"] - row["arrival_s"]
    if _is_time(row.get("first_scheduled_s")):
        found["gen_ai.latency.time_in_queue"] = row["first_scheduled_s"] - row["arrival_s"]
    if row["state"] == "completed":
        found["gen_ai.response.finish_reasons"] = ["stop"]
    else:
        found["error.type"] = row["state"]
    if row.get("replica") is not None and row["replica"] >= 0:
        found["servesim.replica"] = row["replica"]
    if row.get("preemptions"):
        found["servesim.preemptions"] = row["preemptions"]
    return found


def _events(row: dict[str, Any], start_ns: int) -> list[dict[str, Any]]:
    return [
        {"name": name, "timeUnixNano": _ns(row[column], start_ns), "attributes": []}
        for name, column in (
            ("first scheduled", "first_scheduled_s"),
            ("first token", "first_token_s"),
            ("last token", "last_token_s"),
        )
        if _is_time(row.get(column))
    ]


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _typed(value)} for key, value in values.items()]


def _typed(value: Any) -> dict[str, Any]:
    """Return a value as OTLP has it, whole numbers as text, because they have 64 bits."""
    if isinstance(value, list):
        return {"arrayValue": {"values": [_typed(each) for each in value]}}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}


def _is_time(time_s: Any) -> bool:
    return time_s is not None and math.isfinite(time_s)


def _ns(time_s: float, start_ns: int) -> str:
    return str(start_ns + int(np.rint(time_s * 1e9)))
