"""A Chrome trace, which ui.perfetto.dev opens: what every replica and every request did over time.

A lane a replica with its steps and what was in each, counters of its KV blocks, running and waiting requests; a lane
a request with its phases (queued, prefill, decode, paused, preempted, transfer, delivery), which follow one another
from its arrival to its last token; a lane a kind of KV transfers. Times are microseconds of simulated time.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.arrays import Columns
from simulator.errors import InputError
from simulator.report.phases import Histories, columns_of
from simulator.results.result import Result

REQUESTS, TRANSFERS = 1_000_000, 1_000_001  # process numbers; replica r is process r + 1
_COUNTERS = {"KV blocks": "kv_blocks_used", "running": "running", "waiting": "waiting"}

SUFFIX = ".json"


def export(result: Result, path: Path, *, start_s: float = 0.0, end_s: float = math.inf) -> None:
    """Write what happened from ``start_s`` to ``end_s``, simulated seconds: lanes of requests that were there then.

    Raises InputError for a result that keeps no tokens (of a lower trace level), and for a time that is none.
    """
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise InputError(f"{name}: expected seconds, got {value!r}")
    if end_s <= start_s:
        raise InputError(f"end_s: expected a time after start_s = {start_s:g}, got {end_s:g}")
    histories = Histories.of(result)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        for i, event in enumerate(_events(histories, start_s, end_s)):
            file.write((",\n" if i else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")


def _events(histories: Histories, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    yield from _steps(histories, start_s, end_s)
    yield from _requests(histories, start_s, end_s)
    yield from _transfers(histories.transfers, start_s, end_s)


def _steps(histories: Histories, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    steps, work = columns_of(histories.result.steps()), histories.work
    chunks: dict[tuple[int, int], list[str]] = {}
    rows = (
        work[name].tolist() for name in ("replica", "step", "request_id", "kind", "tokens", "computed_before")
    )
    for replica, step, request, kind, tokens, before in zip(*rows, strict=True):
        text = f"request {request}: {kind} {tokens}" + (
            f" after {before}" if before and kind == "prefill" else ""
        )
        chunks.setdefault((replica, step), []).append(text)
    for replica in sorted(histories.step_start_s):
        yield _named("process_name", replica + 1, 0, f"replica {replica}")
        yield _named("thread_name", replica + 1, 1, "steps")
    names = [name for name in steps if name not in ("replica", "step", "start_s", "end_s")]
    for row in zip(
        *(steps[name].tolist() for name in ("replica", "step", "start_s", "end_s", *names)), strict=True
    ):
        replica, step, begins_s, ends_s, *numbers = row
        if ends_s <= start_s or begins_s >= end_s:
            continue
        found = dict(zip(names, numbers, strict=True))
        kind = (
            "mixed"
            if found["decode_seqs"] and found["prefill_seqs"]
            else "prefill"
            if found["prefill_seqs"]
            else "decode"
        )
        args = {"step": step, **found, "prompts and preemptions": chunks.get((replica, step), [])}
        yield _slice(kind, begins_s, ends_s, replica + 1, 1, args)
        for name, column in _COUNTERS.items():
            yield {
                "name": name, "ph": "C", "ts": 1e6 * begins_s, "pid": replica + 1, "args": {name: found[column]},
            }  # fmt: skip


def _requests(histories: Histories, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    yield _named("process_name", REQUESTS, 0, "requests")
    requests = histories.requests
    for request in range(len(requests["arrival_s"])):
        if requests["arrival_s"][request] >= end_s or requests["end_s"][request] <= start_s:
            continue
        phases = histories.phases(request)
        if not phases:
            continue
        prompt, output = (int(requests[name][request]) for name in ("prompt_tokens", "delivered_tokens"))
        yield _named("thread_name", REQUESTS, request + 1, f"request {request}: {prompt} in, {output} out")
        for phase in phases:
            args = {"steps": phase.steps} if phase.steps else {}
            yield _slice(phase.doing, phase.start_s, phase.end_s, REQUESTS, request + 1, args)


def _transfers(transfers: Columns, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    if not transfers:
        return
    yield _named("process_name", TRANSFERS, 0, "KV transfers")
    kinds = {kind: i + 1 for i, kind in enumerate(dict.fromkeys(transfers["kind"].tolist()))}
    for kind, thread in kinds.items():
        yield _named("thread_name", TRANSFERS, thread, kind)
    rows = (transfers[name].tolist() for name in ("kind", "request_id", "start_s", "end_s", "bytes"))
    for i, (kind, request, begins_s, ends_s, size_bytes) in enumerate(zip(*rows, strict=True)):
        if (
            ends_s > start_s and begins_s < end_s
        ):  # they may overlap: asynchronous slices, each with a number of its own
            shared = {
                "name": f"request {request}",
                "cat": kind,
                "id": i,
                "pid": TRANSFERS,
                "tid": kinds[kind],
            }
            yield {**shared, "ph": "b", "ts": 1e6 * begins_s, "args": {"bytes": size_bytes}}
            yield {**shared, "ph": "e", "ts": 1e6 * ends_s}


def _slice(
    name: str, begins_s: float, ends_s: float, process: int, thread: int, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name, "ph": "X", "ts": 1e6 * begins_s, "dur": 1e6 * (ends_s - begins_s), "pid": process, "tid": thread,
        "args": args,
    }  # fmt: skip


def _named(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
