"""Reading the columns of a trace that tell of sessions, and those with names instead of numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.workload.columns import Floats, Ints, Pieces
from simulator.workload.containers import Container
from simulator.workload.formats import TraceFormat
from simulator.workload.workload import (
    LARGEST_INTEGER,
    LARGEST_TOKENS,
    LATEST_S,
    check_arrivals,
    refuse_unless,
)


class SessionColumns(NamedTuple):
    """The columns of ``Columns`` by these names."""

    arrival_s: Floats
    session: Ints | None = None
    think_s: Floats | None = None
    new_tokens: Ints | None = None
    counted_from: Ints | None = None


def codes(table: Container, name: str, may_be_empty: bool = True) -> Ints:
    """Return a column of whole numbers >= 0 as it is, one of texts numbered in order of appearance; empty: -1."""
    labels = table.labels(name)
    texts = any(isinstance(label, str) for label in labels)
    numbered: dict[int | str, int] = {}
    found = np.empty(len(labels), np.int64)
    for i, label in enumerate(labels):
        if label is None and not may_be_empty:
            raise InputError(f"{table.where(i)}: {name} is empty; expected a whole number >= 0 or a text")
        if label is None:
            found[i] = -1
        elif texts:
            found[i] = numbered.setdefault(label, len(numbered))
        elif isinstance(label, int) and 0 <= label <= LARGEST_INTEGER:
            found[i] = label
        else:
            raise InputError(
                f"{table.where(i)}: {name} is {label}; expected a whole number from 0 to {LARGEST_INTEGER},"
                " or a text"
            )
    return found


def read(table: Container, fmt: TraceFormat, numbers: dict[str, Floats], prompt: Ints) -> SessionColumns:
    """Check and return arrivals, and what the table says of sessions, given its columns of numbers.

    Raises ``InputError`` naming the row where an arrival or a think time is missing or out of range, or a
    prompt does not hold its session so far.
    """
    given = None if fmt.arrival_s is None else numbers[fmt.arrival_s] / fmt.ticks_per_s
    label = str(fmt.arrival_s) + (f" / {fmt.ticks_per_s:g}" if fmt.ticks_per_s != 1 else "")
    if fmt.session_id is None or fmt.session_id not in table.header:
        for name in (fmt.agent_id, fmt.session_offset_s, fmt.think_s, fmt.new_tokens, fmt.hash_runs):
            if name in table.header:
                raise InputError(
                    f"{table.path}: column {name} found without {fmt.session_id}; expected both or neither"
                )
        assert given is not None
        check_arrivals(label, given, table.where)
        return SessionColumns(given)
    session = codes(table, fmt.session_id, may_be_empty=given is not None)
    whole = session
    if fmt.agent_id is not None and fmt.agent_id in table.header:
        pairs = np.stack([session, codes(table, fmt.agent_id)])
        session = np.where(session < 0, -1, np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1))
    first = _firsts(session)
    think_s = _think_s(table, fmt, numbers, first)
    new_tokens = None
    if fmt.new_tokens in numbers:
        new_tokens = _new_tokens(table, str(fmt.new_tokens), numbers[str(fmt.new_tokens)], session, prompt)
    if given is None:
        offset_s = np.zeros(len(prompt))
        if fmt.session_offset_s in numbers:
            offset_s = numbers[str(fmt.session_offset_s)]
            offset_s = np.where(np.isnan(offset_s), 0.0, offset_s)
            _check_seconds(table, str(fmt.session_offset_s), offset_s)
        arrival_s = np.where(first, offset_s, np.nan)
        counted_from = np.unique(whole, return_inverse=True)[1].reshape(-1)
        return SessionColumns(arrival_s, session, think_s, new_tokens, counted_from)
    follows = np.isnan(given) & ~first & (think_s == think_s if think_s is not None else False)
    rows = np.flatnonzero(~follows)
    for i in rows[np.isnan(given[rows])].tolist():
        raise InputError(
            f"{table.where(i)}: {fmt.arrival_s} is empty; expected a number, or {fmt.think_s} in a later row of"
            " its session"
        )
    check_arrivals(label, given[rows], lambda i: table.where(int(rows[i])))
    return SessionColumns(given, session, think_s, new_tokens)


def hash_runs(table: Container, fmt: TraceFormat, prompt: Ints) -> Pieces:
    """Check and return runs of block ids; ids are local to the session, and each stands at one position only."""
    name, size = str(fmt.hash_runs), fmt.run_block_tokens
    flat, offsets = table.lists(name)
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
    session = codes(table, str(fmt.session_id))
    streams = np.unique(np.stack([session[row], place]), axis=1, return_inverse=True)[1].reshape(-1)
    return Pieces(streams.astype(np.int64), blocks * size, bounds)


def _firsts(session: Ints) -> NDArray[np.bool_]:
    """Mark the first row of each session, and every row without one."""
    first = session < 0
    first[np.unique(session, return_index=True)[1]] = True
    return first


def _think_s(
    table: Container, fmt: TraceFormat, numbers: dict[str, Floats], first: NDArray[np.bool_]
) -> Floats | None:
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
    new = given.astype(np.int64)
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
