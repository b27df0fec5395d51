"""ReadAs a file of requests: Parquet, CSV, JSON lines or other text, in any known trace format, batch by batch.

Every problem becomes one ``InputError`` that names the file and the line or the row.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.workload import request_columns, session_columns, sessions
from simulator.workload.checks import check_arrivals, whole_numbers
from simulator.workload.columns import Parts, TrafficColumns, compact
from simulator.workload.containers import Batch, Container, Wanted
from simulator.workload.cut import Cut
from simulator.workload.formats import TraceFormat
from simulator.workload.parsed_file import MadeRows
from simulator.workload.recognise import ReadAs, open_requests
from simulator.workload.rows_file import RowsFile
from simulator.workload.skipped import Skipped
from simulator.workload.spec import WorkloadSpec

TURNS_ADD = (
    "prompts of later turns taken as what each adds to the session (workload.turns = 'whole': as whole)"
)


class _LateColumnError(Exception):
    """A column came up after the first batch: all is to be read again, with it."""


class Trace:
    """A trace file whose format is known; ``timed`` if it tells when its requests arrive.

    Raises ``InputError`` for a file that cannot be read or lacks the columns of every known format.
    """

    def __init__(self, path: Path, how: ReadAs | None = None) -> None:
        self._opened = open_requests(path, "trace", how or ReadAs())
        self._table = self._opened.table
        self.format_name, self._format = self._chosen()
        self._turns_add = False
        self.rows: int | None = None  # in all, once it is read; None: not known

    @property
    def said(self) -> list[str]:
        """What is to be said about the rows that were read: what was estimated, what was skipped."""
        skipped, moved = self.skipped, self.out_of_order
        said = [skipped.described(self.named)] if skipped else []
        turns = [TURNS_ADD] if self._turns_add else []
        return [*self.notes, *turns, *([f"{moved:,} rows put in order of arrival"] if moved else []), *said]

    @property
    def notes(self) -> list[str]:
        """What rows that were read say of themselves, such as that their tokens are estimated."""
        return self._opened.notes

    def named(self, number: int) -> str:
        """Return what a row with this number is called: its line, entry or row, and its file where there are many."""
        return self._table.named(number) if isinstance(self._table, RowsFile) else f"row {number}"

    @property
    def out_of_order(self) -> int:
        """How many rows stood behind later ones, and were put in order."""
        return self._table.out_of_order if isinstance(self._table, MadeRows) else 0

    @property
    def skipped(self) -> Skipped | None:
        """What was left out so far; None where nothing is to be."""
        return self._table.skipped if isinstance(self._table, RowsFile) else None

    @property
    def timed(self) -> bool:
        """Whether arrival times are all on one clock."""
        return self._format.arrival_s is not None

    def read(self, spec: WorkloadSpec | None = None) -> tuple[TrafficColumns, Cut]:
        """Return what ``spec`` wants of the trace, by default all; nothing else is held, and no more is read.

        ``rows`` is then known, unless reading ended early in a text file. Raises ``InputError``
        if there are no rows, or for a value that is out of range.
        """
        try:
            return self._read(Cut(spec or WorkloadSpec()))
        except _LateColumnError:
            self._table.look_through()
            self.format_name, self._format = self._chosen()
            return self._read(Cut(spec or WorkloadSpec()))

    def _chosen(self) -> tuple[str, TraceFormat]:
        formats = self._opened.formats
        accepted = [fmt.columns for fmt in formats.values()]
        hint = "; workload.columns says what other columns hold"
        return list(formats.items())[choose(self._table, accepted, hint)]

    def _read(self, cut: Cut) -> tuple[TrafficColumns, Cut]:
        table, fmt = self._table, self._format
        session_columns.refuse_without_sessions(table, fmt)
        shares = (fmt.prefix_id, fmt.hash_ids, fmt.hash_runs, fmt.new_tokens)
        names = [name for name in shares if name is not None and name in table.header]
        if len(names) > 1:
            raise InputError(f"{table.path}: columns {' and '.join(names)} found; expected one of the two")
        carried = request_columns.Carried(table, fmt)
        kept = Parts()
        whole = fmt.session_id in table.header
        if isinstance(table, RowsFile):
            table.check = self._checks(whole)
            table.block_ids = fmt.hash_ids
        parts = self._whole(carried) if whole else self._parts(carried)
        for part in parts:
            kept.add_columns(cut.take(part))
            if cut.over and not whole:
                self.rows = table.rows
                break
        else:
            self.rows = cut.rows
        if not cut.rows:
            raise InputError(f"{table.path}: the trace is empty; expected at least one row of numbers")
        return carried.finished(kept.columns()), cut

    def _checks(self, whole: bool) -> Callable[[Batch], None]:
        """Return what raises ``InputError`` for rows that are wrong, each by itself or behind those before it."""
        table, fmt, last_s = self._table, self._format, 0.0

        def check(batch: Batch) -> None:
            nonlocal last_s
            carried = request_columns.Carried(table, fmt)
            request_columns.checked(table, fmt, batch, np.empty(0), carried)
            name = fmt.arrival_s or ""
            if name in batch.numbers and not whole:
                arrival_s = np.concatenate([[last_s], batch.numbers[name] / fmt.ticks_per_s])
                where = request_columns.placed(table, batch.first_row)
                check_arrivals(session_columns.arrivals_label(fmt), arrival_s, where)
                last_s = float(arrival_s[-1])

        return check

    def _batches(self, wanted: Wanted) -> Iterator[Batch]:
        names = set().union(*(fmt.names for fmt in self._opened.formats.values()))
        for batch in batches(self._table, wanted):
            if self._table.late & names:
                raise _LateColumnError
            yield batch

    def _parts(self, carried: request_columns.Carried) -> Iterator[TrafficColumns]:
        """Yield the requests of a table without sessions, batch by batch."""
        table, fmt = self._table, self._format
        name, last_s = str(fmt.arrival_s), np.empty(0)
        if fmt.arrival_s is None:
            yield from self._untimed(carried)
            return
        for batch in self._batches(request_columns.wanted(table, fmt, carried, with_times=True)):
            arrival_s = batch.numbers[name] / fmt.ticks_per_s
            where = request_columns.placed(table, batch.first_row - len(last_s))
            check_arrivals(session_columns.arrivals_label(fmt), np.concatenate([last_s, arrival_s]), where)
            last_s = arrival_s[-1:]
            yield request_columns.checked(table, fmt, batch, arrival_s, carried)

    def _untimed(self, carried: request_columns.Carried) -> Iterator[TrafficColumns]:
        """Yield all requests of a table without times at once: each starts by itself, at a time to be drawn."""
        table, fmt = self._table, self._format
        parts, rows = Parts(), 0
        for batch in self._batches(request_columns.wanted(table, fmt, carried, with_times=False)):
            parts.add_columns(request_columns.checked(table, fmt, batch, np.zeros(batch.rows), carried))
            rows += batch.rows
        if rows:
            yield replace(parts.columns(), counted_from=np.arange(rows))

    def _whole(self, carried: request_columns.Carried) -> Iterator[TrafficColumns]:
        """Yield all requests of a table with sessions at once, as the rows of one may lie anywhere."""
        table, fmt = self._table, self._format
        found = session_columns.Found(table, fmt)
        parts, rows = Parts(), 0
        wanted = found.wanted(request_columns.wanted(table, fmt, carried, with_times=False))
        for batch in self._batches(wanted):
            parts.add_columns(request_columns.checked(table, fmt, batch, np.empty(0), carried))
            found.add(batch)
            rows += batch.rows
        if rows:
            columns = found.put_into(parts.columns())
            self._turns_add = fmt.turns_add and columns.new_tokens is not None
            yield sessions.in_order(columns) if self.timed else columns


def read_trace(path: Path) -> TrafficColumns:
    """Return the columns of a trace file: arrivals (s, ascending), tokens, and the optional ones it has.

    Raises ``InputError`` as ``Trace`` does.
    """
    return Trace(path).read()[0]


def read_lengths(path: Path, how: ReadAs | None = None) -> tuple[Ints, Ints]:
    """Return prompt and output tokens of a table of lengths; arrival times need not be there.

    Raises ``InputError`` as ``Trace`` does.
    """
    opened = open_requests(path, "length table", how or ReadAs())
    table = opened.table
    accepted = list(dict.fromkeys(fmt.lengths for fmt in opened.formats.values()))
    prompt, output = accepted[choose(table, accepted)]
    parts = Parts()
    for batch in batches(table, Wanted((prompt, output))):
        where = request_columns.placed(table, batch.first_row)
        parts.add(
            prompt=compact(whole_numbers(prompt, batch.numbers[prompt], where)),
            output=compact(whole_numbers(output, batch.numbers[output], where)),
        )
    found: tuple[Ints | None, Ints | None] = parts.take("prompt"), parts.take("output")
    if found[0] is None or found[1] is None:
        raise InputError(f"{path}: the length table is empty; expected at least one row of numbers")
    return found[0], found[1]


def describe(path: Path) -> tuple[int, str, str]:
    """Return (rows, source, licence) of a Parquet file, the latter two from its schema metadata."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    notes = footer.metadata or {}
    return footer.num_rows, notes.get(b"source", b"").decode(), notes.get(b"license", b"").decode()


def choose(table: Container, accepted: Sequence[tuple[str, ...]], hint: str = "") -> int:
    """Return the first set of column names that the table has all of, or raise ``InputError``, ending in a hint."""
    for i, names in enumerate(accepted):
        if set(names) <= set(table.header):
            return i
    before = table.header
    table.look_through()
    if table.header != before:
        return choose(table, accepted, hint)
    header = table.header
    wanted = ", or ".join("/".join(columns) for columns in accepted)
    if not header:
        raise InputError(f"{table.path}: the file is empty; expected columns {wanted}")
    clumped = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
    raise InputError(
        f"{table.path}: columns {', '.join(map(repr, header))} found; expected {wanted}"
        + (table.separated if clumped else "")
        + hint
    )


def batches(table: Container, wanted: Wanted) -> Iterator[Batch]:
    """Return the batches of a table; raise ``InputError`` for a column that is there more than once."""
    for name in (*wanted.required, *wanted.optional):
        times = table.header.count(name)
        if times > 1:
            raise InputError(f"{table.path}: column {name} is there {times} times; expected once")
    return table.batches(wanted)
