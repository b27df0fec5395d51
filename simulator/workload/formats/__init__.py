"""Trace formats, one file each: what is in a file of this folder is all that a new one needs.

Of tables (CSV, JSON lines, Parquet) ``FORMAT`` says which columns hold what. Where renaming is not enough, there is one
of these beside it; both yield rows, dictionaries under the names of ``FORMAT`` (without one: this project's own):

* ``rows(record)``: the rows of one record (a row of CSV or Parquet, a JSON line, an entry of a JSON document), and
  ``recognises(record)``, which looks at the first. ``begin()`` instead returns such a function, for one file, where a
  record tells of others. With ``SORTS`` the records come in no order, and are put in that of their arrivals.
  ``rows_of_all(records)`` instead makes the rows of all records at once, where they tell of one another.
  With ``begin_apart()`` several records are read by that, as each has a clock of its own, and their starts are drawn.
  ``plain(header)`` may say of a CSV file that renaming is all that ``rows`` does: it is then read faster.
* ``parse(lines)``: the rows of other text, and ``SUFFIXES``, the endings of such files; where others end so too,
  ``recognises(line)`` looks at the first line.

A row may have ``time_ns`` (since 1970) instead of an arrival: the file's first one is then 0 s; and a ``note``, what is
to be said about it, which is counted. A ValueError becomes the sentence about the line or the entry it came from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

from simulator.replica.request import TRACE_COLUMNS

_OWN = "servesim"
TraceRow = dict[str, Any]
NumberedRow = tuple[int, TraceRow]  # its line or entry, and what stands there
RowMaker = Callable[[TraceRow], Iterable[TraceRow]]  # what makes rows of a record


class FaultyRecordError(ValueError):
    """What is wrong with a record of which ``rows_of_all`` makes rows, and its line or entry."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(problem)
        self.number = number


@dataclass(frozen=True)
class TraceFormat:
    """Which columns of a table hold what; those of ``columns`` must be there, the others may be."""

    arrival_s: str | None  # None: the table says nothing of when its sessions, or its requests, start
    prompt_tokens: str
    output_tokens: str
    patience_s: str | None = None  # seconds after its arrival at which a client gives up; empty: never
    prefix_id: str | None = None  # requests of one id have their first prefix_tokens in common; empty: none
    prefix_tokens: str | None = None  # how many
    hash_ids: str | None = (
        None  # a list: one id for each 512 tokens of the prompt, the last ones possibly fewer
    )
    hash_block_tokens: int = 512  # equal ids: equal prompts up to and including that block
    any_block_tokens: bool = (
        False  # whether it may be another number, which is then told by the first records
    )
    block_tokens: str | None = None  # a column instead: the tokens of a block; empty: hash_block_tokens
    some_blocks: bool = (
        False  # whether prompts may have fewer ids than blocks: what lies behind them is its own
    )
    ticks_per_s: float = (
        1.0  # units of the arrival and think columns in a second, such as 1000 for milliseconds
    )
    session_id: str | None = None  # conversation, whole numbers or texts; its rows are in order; empty: none
    agent_id: str | None = None  # agents of a session go on side by side, each as a conversation of its own
    session_offset_s: str | None = None  # from the start of the session to an agent's first request; empty: 0
    think_s: str | None = (
        None  # from the end of the session's request before to this one; empty: at its arrival
    )
    new_tokens: str | None = None  # the prompt's last ones; before them comes all of the session so far
    turns_add: bool = (
        False  # whether a session's prompts are what each turn adds to the turns and answers before
    )
    hash_runs: str | None = (
        None  # a list [id, n, ...]: n ids from id up, for full blocks of 64, of the session alone
    )
    run_block_tokens: int = 64  # of those blocks
    node: str | None = None  # a number of its own for each request of a graph of agents
    after: str | None = None  # a list: the nodes whose answers a request waits for, beside its think time
    continues: str | None = None  # the node whose prompt and answer its own prompt begins with
    mark: str | None = None  # a column that tells this format from another with the same names
    # Columns of optional fields of ``Request``, such as {"tenant": "account"}
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse fields that no trace can give."""
        if unknown := self.fields.keys() - TRACE_COLUMNS.keys():
            raise ValueError(
                f"fields: {', '.join(sorted(unknown))} found; expected any of {', '.join(TRACE_COLUMNS)}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that must be there: arrival or session, if there are any, prompt, output."""
        first = self.arrival_s or self.session_id
        return (*([self.mark] if self.mark else []), *([first] if first else []), *self.lengths)

    @property
    def lengths_only(self) -> bool:
        """Whether it has neither arrivals nor sessions."""
        return self.arrival_s is None and self.session_id is None

    @property
    def names(self) -> set[str]:
        """The names of all columns that it knows."""
        own = (getattr(self, each.name) for each in fields(self))
        return {name for name in own if isinstance(name, str)} | set(self.fields.values())

    @property
    def lengths(self) -> tuple[str, str]:
        """The names of the columns of token counts: prompt, output."""
        return (self.prompt_tokens, self.output_tokens)


class Parser(NamedTuple):
    """A format of text that is no table: what is one of its files, and how its lines become rows."""

    name: str
    suffixes: tuple[str, ...]  # the endings of such files
    recognises: Callable[[str], bool]  # by the first line that is not blank
    parse: Callable[[Iterator[str]], Iterator[TraceRow]]
    format: TraceFormat  # the names under which its rows have what


class PlainColumns(NamedTuple):
    """The three columns of a CSV file that are all that a format takes from it; no other changes what rows are."""

    arrival: str
    prompt: str
    output: str
    unit: str | None = None  # of numbers in ``arrival``, or "iso"; None: their size tells


class RecordFormat(NamedTuple):
    """A format of records that are more than columns: what is one of its files, and the rows of a record."""

    name: str
    recognises: Callable[[TraceRow], bool]  # by the first record
    begin: Callable[[], RowMaker]
    format: TraceFormat
    sorts: bool = False  # whether its rows are put in order of arrival
    last: bool = False  # whether it takes what no other format knows
    of_all: Callable[[list[NumberedRow]], Iterable[NumberedRow]] | None = None  # instead of ``begin``
    # instead of ``begin`` where a file has several records, of which each counts times from a start that is not known
    apart: Callable[[], RowMaker] | None = None
    plain: Callable[[Sequence[str]], PlainColumns | None] = lambda header: None  # by the names of its columns


def names() -> list[str]:
    """Return the names of all formats: those of the files."""
    return [_name(file) for file in _files()]


def all_formats() -> list[TraceFormat]:
    """Return every format of tables in this folder, those of lengths alone last: see ``tables``."""
    return list(tables().values())


def tables() -> dict[str, TraceFormat]:
    """Return every format of tables by name.

    This project's own comes first, then the others in order of file name, those of lengths alone last.
    """
    found = {
        _name(file): file.FORMAT
        for file in _files()
        if not any(hasattr(file, name) for name in ("parse", "rows", "begin", "rows_of_all"))
    }
    return dict(sorted(found.items(), key=lambda each: each[1].lengths_only))


def parsers() -> list[Parser]:
    """Return every format in this folder that parses text by itself, in order of file name."""
    return [
        Parser(
            _name(file), file.SUFFIXES, getattr(file, "recognises", lambda _: True), file.parse, _format(file)
        )
        for file in _files()
        if hasattr(file, "parse")
    ]


def record_formats() -> list[RecordFormat]:
    """Return every format of records in this folder, in order of file name."""
    return [
        RecordFormat(
            _name(file),
            file.recognises,
            _begin(file),
            _format(file),
            getattr(file, "SORTS", False),
            getattr(file, "LAST", False),
            getattr(file, "rows_of_all", None),
            getattr(file, "begin_apart", None),
            getattr(file, "plain", lambda header: None),
        )
        for file in _files()
        if any(hasattr(file, name) for name in ("rows", "begin", "rows_of_all"))
    ]


def _begin(file: ModuleType) -> Callable[[], RowMaker]:
    begin: Callable[[], RowMaker] = getattr(file, "begin", lambda: getattr(file, "rows", _none))
    return begin


def _none(record: TraceRow) -> Iterable[TraceRow]:
    return ()


def _format(file: ModuleType) -> TraceFormat:
    given: TraceFormat | None = getattr(file, "FORMAT", None)
    return given or import_module(f"{__name__}.{_OWN}").RECORDS


def _name(file: ModuleType) -> str:
    return file.__name__.rpartition(".")[2]


def _files() -> tuple[ModuleType, ...]:
    return _files_in(tuple(__path__))


@cache
def _files_in(folders: tuple[str, ...]) -> tuple[ModuleType, ...]:
    found = sorted((module.name for module in iter_modules(folders)), key=lambda name: (name != _OWN, name))
    return tuple(import_module(f"{__name__}.{name}") for name in found)
