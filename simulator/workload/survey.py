"""What is in a file of requests: how many, how fast, how long, in which sessions, what they share, and what is odd."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.workload import quantised
from simulator.workload.columns import TrafficColumns
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs, first_records
from simulator.workload.records import BadRecord
from simulator.workload.sessions import in_order

QUANTILES = (0.5, 0.9, 0.99)
_MOST_PROMPTS = 200_000  # that are gone through for what they share
_MOST_IDS = 2_000_000  # looked at for doubles
_IDS = ("request_id", "requestId", "id", "custom_id", "round_id", "span_id", "chat_id")
_LONG_GAP = 20  # times the mean gap
_LEAST_GAP_S = 30.0
_LATE_S = 60.0


@dataclass
class Survey:
    """What was found in a file; None where there is nothing of it."""

    file: str
    format: str
    columns: TrafficColumns  # of the requests that can be simulated
    timed: bool
    wrong: dict[str, list[str]] = field(default_factory=dict)  # lines or entries of rows left out, by reason
    first_problem: str | None = None  # the sentence that a run would refuse the file with
    odd: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, plain: seconds, tokens, requests/s, shares from 0 to 1."""
        columns = self.columns
        return {
            "file": self.file,
            "format": self.format,
            "requests": len(columns),
            "rows_left_out": {reason: len(lines) for reason, lines in self.wrong.items()},
            "refused_with": self.first_problem,
            "arrivals": _arrivals(columns) if self.timed else None,
            "prompt_tokens": _spread(columns.prompt_tokens),
            "output_tokens": _spread(columns.output_tokens),
            "sessions": _sessions(columns),
            "shared_prompt_share": shared_share(columns),
            "optional": columns.optional(),
            "notes": self.notes,
            "odd": self.odd,
        }


def survey(path: Path, how: ReadAs, context_tokens: int) -> Survey:
    """Return what is in a file, whatever is wrong with rows of it.

    Where a run would refuse the file for a row, the sentence is kept and the file read again without such rows and in
    order. Raises ``InputError`` for a file of no known format, or without one good row.
    """
    problem = None
    try:
        trace = Trace(path, how)
        columns, _ = trace.read()
    except InputError as error:
        problem = str(error)
        trace, columns = _read_again(path, how, problem)
    columns = in_order(columns) if trace.timed else columns
    skipped = trace.skipped
    reasons = skipped.reasons() if skipped is not None else {}
    wrong = {reason: [trace.named(each) for each in numbers] for reason, numbers in reasons.items()}
    found = Survey(str(path), trace.format_name, columns, trace.timed, wrong, problem)
    found.notes = trace.notes
    found.odd = [*_odd(columns, trace, context_tokens), *_doubles(path)]
    return found


def _read_again(path: Path, how: ReadAs, problem: str) -> tuple[Trace, TrafficColumns]:
    """Read what is good of a file with such a problem, which is that of the whole if nothing is good."""
    try:
        trace = Trace(path, how._replace(skip_bad=True, sort=True))
        return trace, trace.read()[0]
    except InputError as error:
        raise InputError(problem) from error


def shared_share(columns: TrafficColumns) -> float | None:
    """Return which share of prompt tokens an unlimited prefix cache would have; None where nothing is known of it.

    Requests count as if each had ended before the next arrives.
    """
    segments = columns.segments()
    if segments is None:
        return None
    there: dict[int, int] = {}  # tokens of each stream that some prompt or answer has had
    found = total = 0
    for i, prompt in enumerate(islice(segments, _MOST_PROMPTS)):
        is_hit, ends = True, dict[int, int]()  # a prompt may go on with a stream that it has begun
        for stream, tokens in prompt:
            end = ends.get(stream, 0) + tokens
            known = there.get(stream, 0)
            if is_hit:
                found += min(max(0, known - end + tokens), tokens)
            is_hit &= known >= end
            there[stream] = max(known, end)
            ends[stream] = end
            total += tokens
        there[-1 - i] = there.get(-1 - i, 0) + int(columns.output_tokens[i])
    return found / total


def rates(arrival_s: Floats, bins: int) -> tuple[Floats, Floats]:
    """Return the edges of so many equal spans of time (s), and the arrivals a second in each."""
    times = arrival_s[~np.isnan(arrival_s)]
    end_s = max(float(times[-1]), float(times[0]) + 1e-9)
    counts, edges = np.histogram(times, bins, (float(times[0]), end_s))
    return edges, counts / np.diff(edges)


def _arrivals(columns: TrafficColumns) -> dict[str, float | None]:
    times = columns.arrival_s[~np.isnan(columns.arrival_s)]
    span_s = float(times[-1] - times[0])
    if span_s <= 0:
        return {"first_s": float(times[0]), "span_s": 0.0, "rate_rps": None, "gap_cv": None, "peak_rps": None}
    gaps = np.diff(times)
    _, per_minute = rates(times, max(1, round(span_s / 60)))
    return {
        "first_s": float(times[0]),
        "span_s": span_s,
        "rate_rps": (len(times) - 1) / span_s,
        "gap_cv": float(gaps.std() / gaps.mean()),
        "peak_rps": float(per_minute.max()),
    }


def _spread(tokens: NDArray[Any]) -> dict[str, float]:
    quantiles = np.quantile(tokens, QUANTILES)
    return {
        "mean": float(tokens.mean()),
        **{f"p{100 * level:g}": float(value) for level, value in zip(QUANTILES, quantiles, strict=True)},
        "max": int(tokens.max()),
        "total": int(tokens.sum(dtype=np.int64)),
    }


def _sessions(columns: TrafficColumns) -> dict[str, float | None] | None:
    if columns.session is None or not (columns.session >= 0).any():
        return None
    _, turns = np.unique(columns.session[columns.session >= 0], return_counts=True)
    think_s = columns.think_s
    known = think_s is not None and bool((~np.isnan(think_s)).any())
    return {
        "sessions": len(turns),
        "requests": int(turns.sum()),
        "turns_mean": float(turns.mean()),
        "turns_max": int(turns.max()),
        "think_s_p50": float(np.nanmedian(think_s)) if known and think_s is not None else None,
    }


def _odd(columns: TrafficColumns, trace: Trace, context_tokens: int) -> Iterator[str]:
    if trace.out_of_order:
        yield f"out of order: {trace.out_of_order:,} rows (workload.sort puts them in order)"
    above = columns.prompt_tokens + columns.output_tokens > context_tokens
    if above.any():
        yield f"{above.mean():.1%} of requests are longer than {context_tokens:,} tokens, answer included"
    if not trace.timed:
        yield "no times of arrival: a run needs workload.rate_rps or workload.concurrency"
        return
    times = columns.arrival_s[~np.isnan(columns.arrival_s)]
    coarse = quantised.stamps(times)
    if coarse is not None:
        yield f"{coarse.described()} (workload.jitter spreads them)"
    if times[0] > _LATE_S:
        yield f"the first request arrives at {times[0]:,.0f} s (workload.start_s begins there)"
    gaps = np.diff(times)
    if len(gaps) and gaps.max() > max(_LEAST_GAP_S, _LONG_GAP * gaps.mean()):
        i = int(gaps.argmax())
        yield f"nothing arrives for {gaps[i]:,.0f} s after {times[i]:,.0f} s (the mean gap is {gaps.mean():.3g} s)"


def _doubles(path: Path) -> Iterator[str]:
    """Say of a column of ids that some stand there more than once."""
    records = first_records(path, _MOST_IDS)
    first = next((each for each in records if not isinstance(each, BadRecord)), {})
    name = next((each for each in _IDS if each in first), None)
    if name is None:
        return
    seen = {str(first[name])}
    doubles = 0
    for record in records:
        if not isinstance(record, BadRecord) and record.get(name) is not None:
            doubles += str(record[name]) in seen
            seen.add(str(record[name]))
    if doubles:
        yield f"doubles: {doubles:,} rows have the {name} of one before"
