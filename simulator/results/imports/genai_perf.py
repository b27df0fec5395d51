"""``profile_export.json`` of NVIDIA GenAI-Perf (Perf Analyzer's profile export): one run an experiment.

Times are nanoseconds since 1970. A response is a chunk as it came: server-sent events, the last of which is
``[DONE]``. How many tokens a chunk carries, and how long the prompt was, is only known where the server sent its
``usage``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest, ServedRun, served_run
from simulator.results.imports._values import rows, shown, table, tokens

TOOL = "GenAI-Perf"
_LATEST_NS = 2**63


def recognises(values: list[Any]) -> bool:
    """Whether the only value has experiments."""
    return len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("experiments"), list)


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return a run an experiment."""
    experiments = values[0]["experiments"]
    runs = []
    for i, experiment in enumerate(experiments):
        where = f"{path}: experiments[{i}]"
        found = rows(table(experiment, where).get("requests"), f"{where}.requests")
        if not found:
            raise InputError(f"{where}: no requests; expected some")
        name = path.name if len(experiments) == 1 else f"{path.name}, experiment {i + 1}"
        listed = [table(each, f"{where}: request {j}") for j, each in enumerate(found)]
        begins = [
            _clock_ns(each.get("timestamp"), f"{where}: request {j}: timestamp")
            for j, each in enumerate(listed)
        ]
        zero_ns = min(begins)
        requests = [
            _request(f"{where}: request {j}", each, begin_ns, zero_ns)
            for j, (each, begin_ns) in enumerate(zip(listed, begins, strict=True))
        ]
        runs.append(served_run(name, TOOL, requests))
    return runs


def _request(where: str, row: dict[str, Any], begin_ns: int, zero_ns: int) -> ServedRequest:
    arrival_s = (begin_ns - zero_ns) / 1e9
    stamps = rows(row.get("response_timestamps"), f"{where}: response_timestamps")
    times_ns = [_clock_ns(each, f"{where}: response_timestamps[{i}]") for i, each in enumerate(stamps)]
    given = row.get("response_outputs")
    outputs: list[Any] = (
        [None] * len(times_ns) if given is None else rows(given, f"{where}: response_outputs")
    )
    if len(outputs) != len(times_ns):
        raise InputError(
            f"{where}: {len(outputs)} response_outputs; expected {len(times_ns)}, one a time in response_timestamps"
        )
    usage: dict[str, Any] = {}
    chunks_ns = []
    for time_ns, output in zip(times_ns, outputs, strict=True):
        carries = output is None
        for event in _events(output):
            usage = _usage(event) or usage
            carries = carries or _has_token(event)
        if carries:
            chunks_ns.append(time_ns)
    prompt, answer = (_count(usage, f"{name}_tokens", where) for name in ("prompt", "completion"))
    if not chunks_ns:
        return ServedRequest(where, arrival_s, prompt, 0, state=RequestState.FAILED)
    chunks_s = np.array([(time_ns - zero_ns) / 1e9 for time_ns in chunks_ns])
    return ServedRequest(where, arrival_s, prompt, answer or None, chunks_s)


def _events(output: Any) -> Iterator[Any]:
    """Yield the events of a chunk: JSON values, or text that is none."""
    response = output.get("response") if isinstance(output, dict) else output
    if not isinstance(response, str):
        return
    for line in response.splitlines():
        said = line.strip().removeprefix("data:").strip()
        if said and said != "[DONE]":
            try:
                yield json.loads(said)
            except (ValueError, RecursionError):
                yield said


def _has_token(event: Any) -> bool:
    """Whether an event carries text; one that is no event of OpenAI's is text itself."""
    if not isinstance(event, dict):
        return event is not None
    if "choices" not in event:
        return "usage" not in event
    for choice in event["choices"] if isinstance(event["choices"], list) else ():
        part = choice.get("delta") or choice.get("message") or choice if isinstance(choice, dict) else {}
        if isinstance(part, dict) and any(part.get(name) for name in _TEXTS):
            return True
    return False


_TEXTS = ("content", "reasoning_content", "reasoning", "text", "tool_calls")


def _usage(event: Any) -> dict[str, Any]:
    found = event.get("usage") if isinstance(event, dict) else None
    return found if isinstance(found, dict) else {}


def _count(usage: dict[str, Any], name: str, where: str) -> int | None:
    return None if usage.get(name) is None else tokens(usage[name], f"{where}: usage.{name}")


def _clock_ns(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LATEST_NS:
        raise InputError(f"{where} is {shown(value)}; expected nanoseconds")
    return value
