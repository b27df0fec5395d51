"""Single requests of a run: the slowest with why they were, and all token times of as many as a page can hold."""

from typing import Any

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.report.explain import explain, slowest
from simulator.report.html.packed import packed
from simulator.report.phases import Histories
from simulator.report.text import number
from simulator.results.result import Result

SLOWEST = 50
_MOST_TOKENS = 120_000  # whose times are kept: some 150 kB
_DOING = {
    "queued": "in the queue",
    "prefill": "computing its prompt",
    "decode": "computing its answer",
    "paused": "in the batch while steps went on without it",
    "preempted": "preempted",
    "transfer": "moving its KV cache",
    "delivery": "on the way to its reader",
}


def slowest_requests(result: Result, count: int = SLOWEST) -> tuple[list[dict[str, Any]], str]:
    """Return the requests that took longest, each with why; and what to say where it is not known."""
    log = result.measured.all
    columns = result.request_columns
    assert columns is not None
    try:
        histories = Histories.of(result)
    except InputError as error:
        histories, missing = None, str(error)
    else:
        missing = ""
    ends = np.fmax(log.last_token_s, log.end_s)
    took_s = ends - log.arrival_s
    rows = np.argsort(-took_s, kind="stable")[:count] if histories is None else slowest(histories, count)
    found = []
    for row in rows.tolist():
        told: dict[str, Any] = {
            "request": row,
            "prompt": int(log.prompt_tokens[row]),
            "tokens": int(log.token_counts[row]),
            "asked": int(log.output_tokens[row]),
            "ttft_s": _finite(log.ttft_s[row]),
            "took_s": _finite(took_s[row]),
        }
        if histories is not None:
            told |= _why(histories, row)
        found.append(told)
    return found, missing


def _why(histories: Histories, request: int) -> dict[str, Any]:
    """Return where its time went in a sentence, its phases, and the lines of ``servesim explain``."""
    seconds: dict[str, float] = {}
    for phase in histories.phases(request):
        seconds[phase.doing] = seconds.get(phase.doing, 0.0) + phase.lasts_s
    whole = sum(seconds.values())
    most = max(seconds, key=seconds.__getitem__, default="queued")
    share = f"{100 * seconds.get(most, 0.0) / whole:.0f} % of its time" if whole else "no time"
    lines = explain(histories, request).splitlines()
    return {
        "why": f"{share} {_DOING.get(most, most)}",
        "phases": [[name, float(number(each, 6).replace(",", ""))] for name, each in seconds.items()],
        "explained": [line.strip() for line in lines[1:]],
    }


def deliveries(log: RequestLog, first: list[int]) -> dict[str, Any]:
    """Return when each token of some requests came, since its request's arrival: all, or what a page can hold.

    Of more than it can hold: the requests that are named ``first``, then as many at even distances as go in. Times
    are whole tenths of milliseconds.
    """
    chosen = _sample(log.token_counts, first)
    wanted = np.zeros(log.n, np.bool_)
    wanted[chosen] = True
    times, begins = [np.empty(0, np.int64)], 0
    for part in log.parts():
        for row in np.flatnonzero(wanted[begins : begins + part.n]).tolist():
            own_s = part.delivered_s[part.token_offsets[row] : part.token_offsets[row + 1]]
            since = np.rint(1e4 * (own_s - part.arrival_s[row])).astype(np.int64)
            times.append(np.diff(since, prepend=0))
        begins += part.n
    rows = np.flatnonzero(wanted)
    return {
        "requests": packed(rows),
        "counts": packed(log.token_counts[rows]),
        "times": packed(np.concatenate(times)),
        "all": len(rows) == log.n,
    }


def _sample(counts: Ints, first: list[int]) -> list[int]:
    if int(counts.sum()) <= _MOST_TOKENS:
        return list(range(len(counts)))
    left, chosen = _MOST_TOKENS, []
    each = max(int(len(counts) * _MOST_TOKENS / counts.sum() / 2), 1)
    evenly = np.linspace(0, len(counts) - 1, each).astype(np.int64).tolist()
    for request in dict.fromkeys([*first, *evenly]):
        left -= int(counts[request])
        if left < 0:
            break
        chosen.append(request)
    return chosen


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
