"""Spans of OpenTelemetry's GenAI conventions: a trace with its spans, OTLP's JSON, or one span a line.

Spans of calls to a model count, those of agents and tools around them do not. A request comes at its recorded time;
requests of a conversation, or of a trace, are one session. Without counts of tokens, they are estimated from the texts.
"""

import json
from collections.abc import Iterator
from typing import Any

from simulator.workload.formats import TraceRow
from simulator.workload.values import ESTIMATED, get, is_empty, text_tokens, time_ns, whole

SORTS = True
_CALLS = ("chat", "text_completion", "completion", "generate_content")
_STARTS = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime", "timestamp")
_SESSIONS = ("gen_ai.conversation.id", "session.id", "gen_ai.session.id")
_COUNTS = {
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
    ),
}
_TEXTS = {
    "prompt_tokens": (("gen_ai.input", "gen_ai.prompt", "gen_ai.system_instructions", "llm.input"), ()),
    "output_tokens": (("gen_ai.output", "gen_ai.completion", "llm.output"), ("gen_ai.output.type",)),
}


def recognises(record: TraceRow) -> bool:
    """Tell by spans, or by a span with its attributes."""
    if any(isinstance(record.get(name), list) for name in ("resourceSpans", "resource_spans", "spans")):
        return True
    return "attributes" in record and any(name in record for name in _STARTS)


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the requests of all spans in a record."""
    for span in _spans(record):
        attributes = _attributes(span.get("attributes"))
        operation = get(attributes, "gen_ai.operation.name") or get(attributes, "llm.request.type")
        counted = all(any(get(attributes, name) is not None for name in names) for names in _COUNTS.values())
        if operation not in _CALLS and (operation is not None or not counted):
            continue
        start_name = next((name for name in _STARTS if not is_empty(span.get(name))), _STARTS[-1])
        row: TraceRow = {
            "time_ns": time_ns(
                span.get(start_name), "start_time", "ns" if start_name in _STARTS[:2] else None
            )
        }
        for column, names in _COUNTS.items():
            count = next((found for name in names if not is_empty(found := get(attributes, name))), None)
            if count is None:
                count = text_tokens(*_texts(attributes, column))
                row["note"] = ESTIMATED
            row[column] = whole(count, names[0])
        row["session_id"] = _session(attributes, span)
        yield row


def _texts(attributes: TraceRow, column: str) -> list[Any]:
    begins, but = _TEXTS[column]
    return [_parsed(text) for name, text in attributes.items() if name.startswith(begins) and name not in but]


def _parsed(text: Any) -> Any:
    """Return messages that are JSON in a text as such, so that only what they say counts."""
    try:
        return json.loads(text) if isinstance(text, str) and text[:1] in ("[", "{") else text
    except (ValueError, RecursionError):
        return text


def _session(attributes: TraceRow, span: TraceRow) -> str:
    named = next((found for name in _SESSIONS if not is_empty(found := get(attributes, name))), None)
    return str(named or span.get("traceId") or span.get("trace_id") or "no trace")


def _spans(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the spans of a record, however deep."""
    if "attributes" in record and any(name in record for name in _STARTS):
        yield record
        return
    for name in ("resourceSpans", "resource_spans", "scopeSpans", "scope_spans", "spans"):
        for each in record.get(name) or []:
            if not isinstance(each, dict):
                raise ValueError(f"{name} holds {each!r:.60}; expected objects")
            yield from _spans(each)


def _attributes(given: Any) -> TraceRow:
    """Return attributes by name; OTLP has them as a list of keys and typed values."""
    if isinstance(given, dict):
        return given
    found: TraceRow = {}
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict) and "key" in each:
            value = each.get("value")
            found[str(each["key"])] = next(iter(value.values()), None) if isinstance(value, dict) else value
    return found
