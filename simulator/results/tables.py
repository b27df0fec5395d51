"""From the engine's records to columns: steps, one row a request; for tokens see ``tokens.py``.

Everything here is vectorised and runs once, after the simulation.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Floats, Ints
from simulator.replica.records import STEP_COLUMNS, Records
from simulator.replica.request import RequestState
from simulator.results.recorded import (
    chunk_columns,
    chunk_rows,
    ended_rows,
    hit_rows,
    planned_step_rows,
    preemption_rows,
    run_blocks,
    run_ends_s,
    run_rows,
    steps_ended,
)
from simulator.results.tokens import TokenSource, UnfoldedTokens, joined

Endings = tuple[Ints, Ints, Floats]  # request, state and time of requests that ended

_STEP_TIMES = ("start_s", "end_s")
TIMING = ("start_s", "end_s", "ticks")  # of a step: what tokens and requests are made from


class Incarnation(NamedTuple):
    """What a replica recorded between two of its crashes."""

    replica: int
    records: Records


@dataclass(frozen=True)
class Tables:
    """All that a run leaves behind, as equally long columns of numpy arrays.

    ``steps`` are ordered by replica, then time, and a step's index counts within its replica; they are empty
    where they were not to be kept. ``requests`` are in the order of arrival; where a request never got
    somewhere, the time is NaN and the replica -1.
    """

    steps: Columns
    unfolding: TokenSource
    requests: Columns
    transfers: Columns  # KV caches that went from replica to replica, in the order in which they ended
    incarnations: Sequence[Incarnation]  # in order of replica and time
    scaling: Columns = field(default_factory=dict)  # replicas of pools that are scaled, as they were ordered
    request_of: Ints | None = (
        None  # of each number in the records, where some calls have numbers of their own
    )

    @cached_property
    def tokens(self) -> Columns:
        """All tokens, ordered by request, then by position in the answer."""
        return joined(self.unfolding)

    def steps_by_replica(self) -> Iterator[tuple[int, Columns]]:
        """Yield each replica that stepped and its steps, made anew where they were not kept."""
        yield from split_by_replica(self.steps) if self.steps else _made_anew(self.incarnations)

    def prefill_prior_tokens(self) -> dict[int, Ints]:
        """Return, per replica and step, the most tokens that a chunk of a prompt had before it; 0 without a chunk.

        A chunk of one token counts as a decode.
        """
        found: dict[int, list[Ints]] = {}
        for each in self.incarnations:
            found.setdefault(each.replica, []).append(prior_tokens(each.records))
        return {replica: np.concatenate(parts) for replica, parts in found.items()}

    def prompt_attention(self) -> dict[int, Floats]:
        """Return, per replica, f64[2, steps], what chunks of prompts attend to: pairs of tokens, and tokens read.

        These are ``prefill_attention_pairs`` and ``prefill_context_tokens`` of a ``StepShape``.
        """
        found: dict[int, list[Floats]] = {}
        for each in self.incarnations:
            n = steps_ended(each.records)
            step, _, tokens, before = chunk_columns(each.records)
            prompts = (step < n) & (tokens > 1)
            step, tokens, before = (column[prompts].astype(np.int64) for column in (step, tokens, before))
            attended = tokens * (before + 0.5 * tokens), before + tokens
            part = np.stack([np.bincount(step, of, n) for of in attended]).astype(np.float64)
            found.setdefault(each.replica, []).append(part)
        return {replica: np.concatenate(parts, axis=1) for replica, parts in found.items()}


def prior_tokens(records: Records) -> Ints:
    """Return, per step of an incarnation, the most tokens that a chunk of a prompt had before it, as above."""
    most = np.zeros(steps_ended(records), np.int64)
    step, _, tokens, before = chunk_columns(records)
    prompts = (step < len(most)) & (tokens > 1)
    np.maximum.at(most, step[prompts], before[prompts])
    return most


def split_by_replica(steps: Columns) -> Iterator[tuple[int, Columns]]:
    """Yield each replica of a table of steps, which it orders, and its part of the table."""
    replica = steps["replica"]
    ends = np.flatnonzero(np.r_[replica[1:] != replica[:-1], True])[: len(replica)] + 1
    for start, stop in pairwise([0, *ends.tolist()]):
        yield int(replica[start]), {name: column[start:stop] for name, column in steps.items()}


def _made_anew(incarnations: Sequence[Incarnation]) -> Iterator[tuple[int, Columns]]:
    for replica, mine in groupby(incarnations, key=lambda each: each.replica):
        steps = step_table(list(mine))
        if len(steps["end_s"]):
            yield replica, steps


def step_table(incarnations: Sequence[Incarnation]) -> Columns:
    """Return the steps of all incarnations one after another; counts are int32, times are seconds.

    A step's number counts within its replica, through all incarnations of that.
    """
    rows = [steps_ended(each.records) for each in incarnations]
    numbers = zip(first_steps(incarnations), rows, strict=True)
    return {
        "replica": np.repeat(np.array([each.replica for each in incarnations], np.int32), rows),
        "step": np.concatenate([np.arange(first, first + n, dtype=np.int32) for first, n in numbers]),
        **step_columns(incarnations, STEP_COLUMNS),
    }


def step_columns(incarnations: Sequence[Incarnation], names: Sequence[str] = TIMING) -> Columns:
    """Return columns of the steps of all incarnations one after another, without their numbers."""
    rows = [steps_ended(each.records) for each in incarnations]
    steps = _no_steps(sum(rows), names)
    for each, n, stop in zip(incarnations, rows, accumulate(rows), strict=True):
        _fill_in({name: column[stop - n : stop] for name, column in steps.items()}, each.records)
    return steps


def first_steps(incarnations: Sequence[Incarnation]) -> list[int]:
    """Return the number of the first step of each, which is how many its replica had before."""
    stepped: Counter[int] = Counter()
    first = []
    for each in incarnations:
        first.append(stepped[each.replica])
        stepped[each.replica] += steps_ended(each.records)
    return first


def _no_steps(n: int, names: Sequence[str]) -> Columns:
    return {name: np.zeros(n, np.float64 if name in _STEP_TIMES else np.int32) for name in names}


def _fill_in(steps: Columns, records: Records) -> None:
    """Put the steps of one incarnation that have ended into columns of zeros."""
    index, planned = planned_step_rows(records)
    runs, n = run_rows(records), len(steps["end_s"])
    first, counts = runs["first_step"].astype(np.int64), runs["steps"].astype(np.int64)
    order = np.argsort(np.concatenate([index, first]), kind="stable")  # a planned step is as a run of one
    lengths = np.concatenate([np.ones_like(index), counts])[order]

    def repeated(of_planned: NDArray[Any], of_runs: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(np.concatenate([of_planned, of_runs])[order], lengths)[:n]

    ran = repeated(np.zeros(len(index), np.bool_), np.ones(len(counts), np.bool_))
    ended = index < n
    index = index[ended]

    def fill(name: str) -> None:
        column, of_planned = steps[name], planned[name]
        if name == "start_s":  # in a run at the end of the step before
            column[1:] = steps["end_s"][:-1]
            begun = (counts > 0) & (first < n)
            column[first[begun]] = runs[name][begun]
        elif name in ("end_s", "kv_blocks_used"):
            column[ran] = (run_ends_s(records) if name == "end_s" else run_blocks(records))[
                : np.count_nonzero(ran)
            ]
        elif name == "ticks":
            column[:] = 1
        elif name in runs:
            of_runs = runs[name].astype(np.int64)
            if name != "decode_context_tokens":
                column[:] = repeated(of_planned.astype(np.int32), of_runs.astype(np.int32))
                return
            # Each step adds one token a sequence. Sums in 32 bits are right where the results have no more.
            seqs = runs["decode_seqs"].astype(np.int64)
            column[:] = repeated(np.zeros(len(of_planned), np.int32), seqs.astype(np.int32))
            column *= np.arange(n, dtype=np.int32)
            column += repeated(of_planned.astype(np.int32), (of_runs - first * seqs).astype(np.int32))
            return
        column[index] = of_planned[ended]

    for name in sorted(steps):  # ends before starts
        fill(name)


def request_table(
    incarnations: Sequence[Incarnation],
    refused: Endings,
    arrived: Columns,
    steps: Columns,
    tokens: UnfoldedTokens,
    until_s: Floats | None,
    horizon_s: float | None,
    now_s: float,
) -> Columns:
    """One row per arrived request: what it asked for, how it ended, and its milestones in seconds.

    Of ``steps`` only the times are needed. ``until_s`` is up to when each reader took tokens: a request that was
    computed to its end, but not delivered to it by then, has not completed. Requests that never ended wait up to
    ``now_s``, or the last event if that is later.
    """
    n = len(arrived["arrival_s"])
    state = np.full(n, int(RequestState.UNFINISHED), np.int8)
    end_s = np.full(n, np.nan)
    replica = np.full(n, -1, np.int32)
    preemptions = np.zeros(n, np.int32)
    first_scheduled_s = np.full(n, np.inf)
    last_scheduled_s = np.full(n, -np.inf)
    row = 0
    for each in incarnations:
        n_steps = steps_ended(each.records)
        step, request = chunk_rows(each.records)
        step, request = step[step < n_steps], request[step < n_steps]
        began_s = steps["start_s"][row : row + n_steps][step]
        later = began_s >= last_scheduled_s[request]
        replica[request[later]] = each.replica
        last_scheduled_s[request[later]] = began_s[later]
        np.minimum.at(first_scheduled_s, request, began_s)
        np.add.at(preemptions, preemption_rows(each.records), 1)
        row += n_steps
    first_scheduled_s[np.isinf(first_scheduled_s)] = np.nan
    for at, (request, final, time_s) in (
        (-1, refused),
        *((each.replica, ended_rows(each.records)) for each in incarnations),
    ):
        state[request] = final
        end_s[request] = time_s
        if at >= 0:
            replica[request] = at
    first_token_s, last_token_s = tokens.first_and_last_s()
    completed = state == RequestState.COMPLETED
    end_s[completed] = last_token_s[completed]
    if until_s is not None:
        late = completed & tokens.cut_short
        left = late | (state == RequestState.ABANDONED_BY_USER)  # which the engine notices with its next plan
        end_s[left] = until_s[left]
        cut_off = end_s >= (np.inf if horizon_s is None else horizon_s)
        state[late] = np.where(cut_off, RequestState.UNFINISHED, RequestState.ABANDONED_BY_USER)[late]
    waits_on = np.isnan(end_s)
    if waits_on.any():
        end_s[waits_on] = max(now_s, _last_event_s(arrived["arrival_s"], steps["end_s"], end_s))
    return {
        "request_id": np.arange(n, dtype=np.int32),
        **arrived,
        "state": state,
        "delivered_tokens": tokens.counts,
        "replica": replica,
        "first_scheduled_s": first_scheduled_s,
        "first_token_s": first_token_s,
        "last_token_s": last_token_s,
        "end_s": end_s,
        "preemptions": preemptions,
        **_found(incarnations, n),
    }


def _found(incarnations: Sequence[Incarnation], n: int) -> Columns:
    """Return what each request found in prefix caches: shared, and again after preemptions; nothing if none did."""
    rows = [hit_rows(each.records) for each in incarnations]
    if not any(len(request) for request, _, _ in rows):
        return {}
    found = np.zeros((2, n), np.int64)
    for request, tokens, again in rows:
        np.add.at(found, (again, request), tokens)
    return {"cached_tokens": found[0], "found_again_tokens": found[1]}


def last_event_s(requests: Columns, steps: Columns) -> float:
    """Return when the last thing happened: an arrival, the end of a step or of a request; 0 if nothing did."""
    return _last_event_s(requests["arrival_s"], steps["end_s"], requests["end_s"])


def _last_event_s(*times_s: Floats) -> float:
    return max(float(np.fmax.reduce(each, initial=0.0)) for each in times_s)
