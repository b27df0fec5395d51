"""Single requests of a run: the slowest with why they were, and all token times of as many as a page can hold."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.report.explain import explain, longest
from simulator.report.explain_measured import explain_measured
from simulator.report.html.packed import packed
from simulator.report.phases import Histories, Phase
from simulator.report.text import number
from simulator.results.measured import MeasuredResult
from simulator.results.result import Result

SLOWEST = 50
_MOST_TOKENS = 120_000  # whose times are kept: some 150 kB


def slowest_requests(result: Result, count: int = SLOWEST) -> tuple[list[dict[str, Any]], str]:
    """Return the requests that took longest, each with why; and what to say where it is not known.

    Of a real server only what its client saw of a request is told.
    """
    log = result.measured.all
    ends_s = np.fmax(log.last_token_s, log.end_s)
    rows = longest({"arrival_s": log.arrival_s, "last_token_s": ends_s, "end_s": ends_s}, count).tolist()
    reasons: list[dict[str, Any]]
    missing = ""
    if isinstance(result, MeasuredResult):
        reasons = [_why_measured(result, row) for row in rows]
    else:
        try:
            histories = Histories.of(result)
            reasons = [_why(histories, row) for row in rows]
        except InputError as error:
            reasons, missing = [{} for _ in rows], str(error)
    return [
        {
            "request": row,
            "prompt": int(log.prompt_tokens[row]),
            "tokens": int(log.token_counts[row]),
            "asked": int(log.output_tokens[row]),
            "ttft_s": _finite(log.ttft_s[row]),
            "took_s": _finite(ends_s[row] - log.arrival_s[row]),
            **reason,
        }
        for row, reason in zip(rows, reasons, strict=True)
    ], missing


def _why_measured(result: MeasuredResult, request: int) -> dict[str, Any]:
    """Return the longest of what its client saw, and the lines of ``servesim explain``."""
    lines = [line.strip() for line in explain_measured(result, request).splitlines()[1:]]
    timed = [line for line in lines if " s  " in line]
    lasts_s = [float(line.partition(" s  ")[0].replace(",", "")) for line in timed]
    return {"why": timed[int(np.argmax(lasts_s))] if timed else "", "explained": lines}


def _why(histories: Histories, request: int) -> dict[str, Any]:
    """Return the longest of its phases, what was beside it in its steps, and the lines of ``servesim explain``."""
    phases = histories.phases(request)
    lines = [line.strip() for line in explain(histories, request).splitlines()[1:]]
    if not phases:
        return {"why": "", "explained": lines}
    most = max(range(len(phases)), key=lambda i: phases[i].lasts_s)
    whole_s = sum(phase.lasts_s for phase in phases)
    share = f"{100 * phases[most].lasts_s / whole_s:.0f} %: " if whole_s else ""
    return {"why": f"{share}{lines[most]}{_beside(histories, request, phases[most])}", "explained": lines}


def _beside(histories: Histories, request: int, phase: Phase) -> str:
    """Say how long the steps of an answer were, and what was in them besides: their means."""
    if phase.doing != "decode" or not phase.steps:
        return ""
    steps = histories.steps
    here = steps["replica"] == histories.requests["replica"][request]
    here &= (steps["start_s"] < phase.end_s) & (steps["end_s"] > phase.start_s)
    if not here.any():
        return ""
    running, prompts = (float(steps[name][here].mean()) for name in ("running", "prefill_tokens"))
    return (
        f" of {number(1e3 * phase.lasts_s / phase.steps, 3)} ms; in a step on average {number(running, 3)} requests"
        f" and {number(prompts, 3)} prompt tokens"
    )


def deliveries(log: RequestLog, chosen: list[int]) -> dict[str, Any]:
    """Return when each token of some requests came, since its request's arrival, in tenths of milliseconds."""
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


def sample(counts: Ints, first: Iterable[int]) -> list[int]:
    """Return requests whose tokens a page can hold, given how many each has: all, if it can.

    Otherwise those that are named ``first``, and as many at even distances as go in.
    """
    if int(counts.sum()) <= _MOST_TOKENS:
        return list(range(len(counts)))
    left, chosen = _MOST_TOKENS, []
    each = max(int(len(counts) * _MOST_TOKENS / counts.sum() / 2), 1)
    evenly = np.linspace(0, len(counts) - 1, each).astype(np.int64).tolist()
    for request in dict.fromkeys([*first, *evenly]):
        if left >= counts[request]:
            left -= int(counts[request])
            chosen.append(request)
    return chosen


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
