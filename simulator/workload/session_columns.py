"""Reading the columns of a trace that tell of sessions, as the rows of one may lie anywhere in it."""

from dataclasses import replace

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.errors import InputError
from simulator.workload import graph
from simulator.workload.checks import (
    LARGEST_INTEGER,
    LARGEST_TOKENS,
    LATEST_S,
    check_arrivals,
    refuse_unless,
)
from simulator.workload.columns import Parts, Pieces, TrafficColumns, compact
from simulator.workload.containers import Batch, Container, Wanted
from simulator.workload.formats import TraceFormat
from simulator.workload.labels import Labels
from simulator.workload.turns import added


class Found:
    """What a table with sessions tells of them, gathered batch by batch and checked at the end."""

    def __init__(self, table: Container, fmt: TraceFormat) -> None:
        self.table = table
        self.fmt = fmt
        assert fmt.session_id is not None
        self._session = Labels(table, fmt.session_id, may_be_empty=fmt.arrival_s is not None)
        self._agent = None
        if fmt.agent_id is not None and fmt.agent_id in table.header:
            self._agent = Labels(table, fmt.agent_id)
        numbers = (fmt.arrival_s, fmt.session_offset_s, fmt.think_s, fmt.new_tokens, fmt.node, fmt.continues)
        self._numbers = [name for name in numbers if name is not None and name in table.header]
        self._runs = fmt.hash_runs if fmt.hash_runs in table.header else None
        self._after = fmt.after if fmt.after in table.header and fmt.node in table.header else None
        self._parts = Parts()

    def wanted(self, others: Wanted) -> Wanted:
        """Return the columns to read, beside ``others``; later turns with think times need no arrival time."""
        required = (
            [self.fmt.arrival_s] if self.fmt.arrival_s and self.fmt.think_s not in self._numbers else []
        )
        return Wanted(
            [*required, *others.required],
            [*others.optional, *(name for name in self._numbers if name not in required)],
            [*others.lists, *(each for each in (self._runs, self._after) if each)],
            [*others.labels, *(each.name for each in (self._session, self._agent) if each is not None)],
        )

    def add(self, batch: Batch) -> None:
        """Keep what a batch tells."""
        self._parts.add(**{f"number {name}": batch.numbers[name] for name in self._numbers})
        self._parts.add(session=compact(self._session.add(batch)))
        if self._agent is not None:
            self._parts.add(agent=compact(self._agent.add(batch)))
        if self._runs is not None:
            flat, offsets = batch.lists[self._runs]
            self._parts.add(runs=Pieces(compact(flat), np.empty(0, np.int32), offsets))
        if self._after is not None:
            flat, offsets = batch.lists[self._after]
            self._parts.add(after=Pieces(compact(flat), np.zeros(len(flat), np.int32), offsets))

    def put_into(self, columns: TrafficColumns) -> TrafficColumns:
        """Check all that was found and return the columns with it.

        Raises ``InputError`` naming the row where an arrival or a think time is missing or out of range, or a
        prompt does not hold its session so far.
        """
        table, fmt, prompt = self.table, self.fmt, columns.prompt_tokens
        numbers = {name: self._parts.take(f"number {name}") for name in self._numbers}
        session = whole = self._session.finished(self._parts.take("session"))
        if self._agent is not None:
            pairs = np.stack([session, self._agent.finished(self._parts.take("agent"))])
            session = np.where(session < 0, -1, np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1))
        first = _firsts(session)
        after: Pieces | None = self._parts.take("after")
        begins = first if after is None else first & (np.diff(after.offsets) == 0)
        think_s = _think_s(table, fmt, numbers, begins)
        new_tokens = hash_runs = counted_from = None
        if fmt.new_tokens in numbers:
            new_tokens = _new_tokens(
                table, str(fmt.new_tokens), numbers[str(fmt.new_tokens)], session, prompt
            )
        elif fmt.turns_add:
            new_tokens, prompt = added(columns, session, table.where)
        if fmt.arrival_s is None:
            arrival_s = np.where(first, _offsets_s(table, fmt, numbers, len(prompt)), np.nan)
            counted_from = compact(np.unique(whole, return_inverse=True)[1].reshape(-1))
        else:
            arrival_s = _arrivals(table, fmt, numbers[fmt.arrival_s] / fmt.ticks_per_s, first, think_s)
        if self._runs is not None:
            runs: Pieces = self._parts.take("runs")
            hash_runs = _hash_runs(table, fmt, runs.streams, runs.offsets, whole, prompt)
        return replace(
            columns,
            arrival_s=arrival_s,
            prompt_tokens=prompt,
            hash_runs=hash_runs,
            session=compact(session),
            think_s=think_s,
            new_tokens=new_tokens,
            counted_from=counted_from,
            after=after,
            **graph.checked(table, fmt, numbers, after),
        )


def arrivals_label(fmt: TraceFormat) -> str:
    """Return what arrival times are called in error sentences."""
    return str(fmt.arrival_s) + (f" / {fmt.ticks_per_s:g}" if fmt.ticks_per_s != 1 else "")


def refuse_without_sessions(table: Container, fmt: TraceFormat) -> None:
    """Raise ``InputError`` if a table that names no sessions has a column on them."""
    if fmt.session_id in table.header:
        return
    for name in (fmt.agent_id, fmt.session_offset_s, fmt.think_s, fmt.new_tokens, fmt.hash_runs):
        if name in table.header:
            raise InputError(
                f"{table.path}: column {name} found without {fmt.session_id}; expected both or neither"
            )


def _arrivals(
    table: Container, fmt: TraceFormat, given: Floats, first: Flags, think_s: Floats | None
) -> Floats:
    """Check and return arrival times; a later turn with a think time needs none."""
    follows = np.isnan(given) & ~first & (think_s == think_s if think_s is not None else False)
    rows = np.flatnonzero(~follows)
    missing = rows[np.isnan(given[rows])]
    if len(missing):
        raise InputError(
            f"{table.where(int(missing[0]))}: {fmt.arrival_s} is empty; expected a number, or {fmt.think_s} in a"
            " later row of its session"
        )
    check_arrivals(arrivals_label(fmt), given[rows], lambda i: table.where(int(rows[i])))
    return given


def _offsets_s(table: Container, fmt: TraceFormat, numbers: dict[str, Floats], n: int) -> Floats:
    """Check and return the times from a session's start to an agent's first request."""
    if fmt.session_offset_s not in numbers:
        return np.zeros(n)
    offset_s = numbers[str(fmt.session_offset_s)]
    offset_s = np.where(np.isnan(offset_s), 0.0, offset_s)
    _check_seconds(table, str(fmt.session_offset_s), offset_s)
    return offset_s


def _hash_runs(
    table: Container, fmt: TraceFormat, flat: Ints, offsets: Ints, session: Ints, prompt: Ints
) -> Pieces:
    """Check and return runs of block ids; ids are local to the session, and each stands at one position only."""
    name, size = str(fmt.hash_runs), fmt.run_block_tokens
    lengths = np.diff(offsets)
    if (lengths % 2).any():
        i = int(np.argmax(lengths % 2))
        raise InputError(f"{table.where(i)}: {name} has {lengths[i]} entries; expected pairs of id and count")
    begin, end = int(offsets[0]), int(offsets[-1])
    ids, blocks, bounds = flat[begin:end:2], flat[begin + 1 : end : 2], (offsets - begin) // 2
    row = np.repeat(np.arange(len(prompt)), np.diff(bounds))
    wrong = (ids < 0) | (ids > LARGEST_INTEGER) | (blocks < 1) | (blocks > LARGEST_TOKENS)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise InputError(
            f"{table.where(int(row[k]))}: {name} holds id {ids[k]} with count {blocks[k]}; expected an id >= 0"
            " and a count >= 1"
        )
    before = np.concatenate([[0], np.cumsum(blocks)])
    found, wanted = before[bounds[1:]] - before[bounds[:-1]], prompt // size
    if not np.array_equal(found, wanted):
        i = int(np.argmax(found != wanted))
        raise InputError(
            f"{table.where(i)}: {name} stands for {found[i]} ids; expected {wanted[i]}, one for each full"
            f" {size} of {prompt[i]} prompt tokens"
        )
    # ids of a run rise by one from block to block, as positions do: the difference names the stream
    place = ids - (before[:-1] - np.repeat(before[bounds[:-1]], np.diff(bounds)))
    streams = np.unique(np.stack([session[row], place]), axis=1, return_inverse=True)[1].reshape(-1)
    return Pieces(compact(streams.astype(np.int64)), compact(blocks * size), bounds)


def _firsts(session: Ints) -> Flags:
    """Mark the first row of each session, and every row without one."""
    first = session < 0
    first[np.unique(session, return_index=True)[1]] = True
    return first


def _think_s(table: Container, fmt: TraceFormat, numbers: dict[str, Floats], first: Flags) -> Floats | None:
    if fmt.think_s not in numbers:
        return None
    name = str(fmt.think_s)
    think_s = numbers[name] / fmt.ticks_per_s
    _check_seconds(table, name, think_s)
    if fmt.arrival_s is None:
        good = first | ~np.isnan(think_s)
        if not good.all():
            raise InputError(
                f"{table.where(int(np.argmin(good)))}: {name} is empty; expected seconds, as only a session's"
                " first row goes without"
            )
    return np.where(first, np.nan, think_s)


def _new_tokens(table: Container, name: str, given: Floats, session: Ints, prompt: Ints) -> Ints:
    with np.errstate(invalid="ignore"):
        good = (given >= 1) & (given <= prompt) & (given == np.floor(given))
    refuse_unless(good, given, name, "a whole number from 1 to the prompt's tokens", table.where)
    new = compact(given.astype(np.int64))
    last: dict[int, int] = {}
    for i, (each, old) in enumerate(zip(session.tolist(), (prompt - new).tolist(), strict=True)):
        if each in last and old < prompt[last[each]]:
            raise InputError(
                f"{table.where(i)}: {prompt[i]} prompt tokens without {new[i]} {name} leave {old}; expected at"
                f" least the {prompt[last[each]]} of the session's prompt before"
            )
        if each >= 0:
            last[each] = i
    return new


def _check_seconds(table: Container, name: str, seconds: Floats) -> None:
    bad = (seconds < 0) | (seconds > LATEST_S)
    refuse_unless(~bad, seconds, name, f"seconds >= 0, at most {LATEST_S:g}", table.where)
