"""Sessions: several turns of one client, each sent some time after the answer to the one before.

Rows of a session are in order; its first arrives at its time, the others follow (closed loop).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload.arrivals import MOST_REQUESTS, UnitGaps
from simulator.workload.columns import TrafficColumns
from simulator.workload.spec import WorkloadSpec

Starts = Callable[[UnitGaps, int], Floats]  # times of the first n arrivals
Lengths = Callable[[int], tuple[Ints, Ints]]  # prompt and output tokens of n requests


def turns(spec: WorkloadSpec, seed: int, sessions: int) -> Ints:
    """Return how many turns each of so many sessions has, geometric with mean ``session_turns``.

    With ``requests`` they are as many sessions as it takes, and the last is cut there.
    """
    assert spec.session_turns is not None
    drawn = stream(seed, "turns").geometric(1 / spec.session_turns, sessions)
    if spec.requests is not None:
        ends = np.cumsum(drawn)
        last = int(np.searchsorted(ends, spec.requests))
        drawn = drawn[: last + 1]
        drawn[last] -= ends[last] - spec.requests
    return drawn


def draw(spec: WorkloadSpec, turns: Ints, start_s: Floats, lengths: Lengths) -> TrafficColumns:
    """Return sessions that start at the given times; a turn's new tokens and answer are a draw of ``lengths``."""
    total = int(turns.sum())
    if total > MOST_REQUESTS:
        raise InputError(
            f"workload.session_turns: {len(turns):,} sessions have {total:,} turns; expected at most"
            f" {MOST_REQUESTS:,}"
        )
    session = np.repeat(np.arange(len(turns)), turns)
    first = np.cumsum(turns) - turns
    new, output = lengths(total)
    if spec.max_tokens is not None:
        output = np.minimum(output, spec.max_tokens)
    so_far = np.cumsum(new + output, dtype=np.int64)
    before = np.where(first > 0, so_far[first - 1], 0)
    arrival_s = np.full(total, np.nan)
    arrival_s[first] = start_s
    prompt = so_far - output - np.repeat(before, turns)
    return TrafficColumns(arrival_s, prompt, output, session=session, new_tokens=new)


def cut(columns: TrafficColumns, fits: Flags) -> Flags:
    """Mark the requests that stay if a session ends with its first one that does not fit."""
    if columns.session is None:
        return fits
    _, group = np.unique(columns.session, return_inverse=True)
    first_bad = np.full(int(group.max()) + 1, len(columns))
    bad = np.flatnonzero(~fits)
    np.minimum.at(first_bad, group[bad], bad)
    return fits & ((columns.session < 0) | (np.arange(len(columns)) < first_bad[group]))


def think(spec: WorkloadSpec, seed: int, columns: TrafficColumns) -> TrafficColumns:
    """Return the columns with the think times that ``spec`` adds; raise ``InputError`` if there is no use for them."""
    untimed = columns.counted_from is not None and columns.session is not None
    if spec.think_s is None and columns.think_s is None and untimed:
        raise InputError(
            f"workload.think_s: missing; {spec.trace} says nothing of the time between an answer and the"
            " session's next request; expected a mean in seconds"
        )
    if spec.think_s is not None:
        if columns.session is None:
            raise InputError(f"workload.think_s: {spec.trace} has no sessions; expected a column session_id")
        if columns.think_s is not None:
            raise InputError(f"workload.think_s: {spec.trace} says this itself; expected one of the two")
        drawn = spec.think_s * stream(seed, "think").standard_exponential(len(columns))
        columns = replace(columns, think_s=np.where(columns.session < 0, np.nan, drawn))
    if spec.max_think_s is not None:
        if columns.think_s is None:
            raise InputError(
                f"workload.max_think_s: {spec.trace} has no think times; expected workload.think_s"
            )
        columns = replace(columns, think_s=np.minimum(columns.think_s, spec.max_think_s))
    return columns


def place(spec: WorkloadSpec, seed: int, columns: TrafficColumns, starts: Starts) -> TrafficColumns:
    """Draw the starts of sessions that have none, as Poisson arrivals at ``rate_rps`` sessions a second."""
    if columns.counted_from is None or spec.concurrency is not None:
        return columns
    if spec.rate_rps is None and spec.load is None and spec.load_points is None:
        what = "requests" if columns.session is None else "sessions"
        raise InputError(
            f"workload.rate_rps: missing; {spec.trace} says nothing of when its {what} start; expected"
            f" {what}/s, or workload.concurrency"
        )
    _, first, group = np.unique(columns.counted_from, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # of appearance
    gaps = stream(seed, "session_starts").standard_exponential
    start_s = starts(gaps, len(first))
    return replace(columns, arrival_s=columns.arrival_s + start_s[order[group]], counted_from=None)


def in_order(columns: TrafficColumns) -> TrafficColumns:
    """Return the requests in order of arrival, a session's first one without a think time.

    A later turn is placed at the earliest time it can come, as if answers took no time.
    """
    if columns.session is None:
        return columns
    session, think_s, arrival_s = columns.session, columns.think_s, columns.arrival_s
    if think_s is not None:
        first = columns.first_of_session() == np.arange(len(columns))
        if columns.after is not None:
            first &= np.diff(columns.after.offsets) == 0
        think_s = np.where(first, np.nan, think_s)
        at, last = arrival_s.tolist(), dict[int, float]()
        for i, (each, thought) in enumerate(zip(session.tolist(), think_s.tolist(), strict=True)):
            if at[i] != at[i]:
                at[i] = last[each] + thought
            last[each] = at[i]
        arrival_s = np.array(at)
    return replace(columns, arrival_s=arrival_s, think_s=think_s).pick(np.argsort(arrival_s, kind="stable"))


def at_once(columns: TrafficColumns) -> TrafficColumns:
    """Return the requests for clients that send one when they have the answer to the one before."""
    if columns.after is not None:
        raise InputError(
            "workload.concurrency: given for a graph of agents, whose requests wait for several answers; expected none"
        )
    think_s = columns.think_s
    if think_s is not None:
        first = columns.first_of_session() == np.arange(len(columns))
        think_s = np.where(first, np.nan, think_s)
    return replace(columns, arrival_s=np.zeros(len(columns)), think_s=think_s, counted_from=None)
