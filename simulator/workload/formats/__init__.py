"""Trace formats, one file each: what is in a file of this folder is all that a new one needs.

Of tables (CSV, JSON lines, Parquet) ``FORMAT`` says which columns hold what. Other text has a generator
``parse(lines)`` that yields rows, dictionaries under the names of ``FORMAT`` (without one: this project's own), and
``SUFFIXES``, the endings of such files; where others end so too, ``recognises(line)`` looks at the first line. A
ValueError that ``parse`` raises becomes the sentence about the line that was read last.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from simulator.replica.request import TRACE_COLUMNS

_OWN = "servesim"


@dataclass(frozen=True)
class TraceFormat:
    """Which columns of a table hold what; those of ``columns`` must be there, the others may be."""

    arrival_s: str | None  # None: the table has sessions, and nothing about when they start
    prompt_tokens: str
    output_tokens: str
    patience_s: str | None = None  # seconds after its arrival at which a client gives up; empty: never
    prefix_id: str | None = None  # requests of one id have their first prefix_tokens in common; empty: none
    prefix_tokens: str | None = None
    hash_ids: str | None = None  # a list: one id for each block of the prompt, the last one possibly partial
    hash_block_tokens: int = 512  # equal ids: equal prompts up to and including that block
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
    hash_runs: str | None = None  # a list [id, n, id, n, ...]: ids, id + 1, ... of the prompt's full blocks,
    run_block_tokens: int = 64  # as hash_ids, but local to the session
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
        """The names of the columns that must be there: arrival or session, prompt, output."""
        first = self.arrival_s or self.session_id
        assert first is not None, "a format has arrivals or sessions"
        return (*([self.mark] if self.mark else []), first, *self.lengths)

    @property
    def names(self) -> set[str]:
        """The names of all columns that it knows."""
        own = (getattr(self, each.name) for each in fields(self))
        return {name for name in own if isinstance(name, str)} | set(self.fields.values())

    @property
    def lengths(self) -> tuple[str, str]:
        """The names of the columns of token counts: prompt, output."""
        return (self.prompt_tokens, self.output_tokens)


@dataclass(frozen=True)
class Parser:
    """A format that is no table: what is one of its files, and how its lines become rows."""

    name: str
    suffixes: tuple[str, ...]  # the endings of such files
    recognises: Callable[[str], bool]  # by the first line that is not blank
    parse: Callable[[Iterator[str]], Iterator[dict[str, Any]]]
    format: TraceFormat  # the names under which its rows have what


def all_formats() -> list[TraceFormat]:
    """Return every format of tables in this folder: this project's own, then the others in order of file name."""
    return [file.FORMAT for file in _files() if not hasattr(file, "parse")]


def parsers() -> list[Parser]:
    """Return every format in this folder that parses by itself, in order of file name."""
    return [
        Parser(
            file.__name__.rpartition(".")[2],
            file.SUFFIXES,
            getattr(file, "recognises", lambda _: True),
            file.parse,
            getattr(file, "FORMAT", import_module(f"{__name__}.{_OWN}").FORMAT),
        )
        for file in _files()
        if hasattr(file, "parse")
    ]


def _files() -> list[ModuleType]:
    names = sorted((module.name for module in iter_modules(__path__)), key=lambda name: (name != _OWN, name))
    return [import_module(f"{__name__}.{name}") for name in names]
