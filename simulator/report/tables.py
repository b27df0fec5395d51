"""Every table that is printed: rows in, lines out, as wide as there is room.

A ``Document`` is what a command prints: tables, facts with labels, words. ``render`` makes plain text of it, Markdown,
LaTeX, CSV or JSON (``simulator.report.formats``). Where the width is limited no word is broken: headings and texts
go on below, then columns are left out, those of the highest rank first, and a line says which; or, in a table that
``splits``, they follow in a table of their own. What does not fit even so is a block of lines a row.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from simulator.report.text import number

Form = Literal["plain", "md", "latex", "csv", "json"]
LineKind = Literal["title", "head", "row", "words", "warning"]
GAP = "  "


class Amount(NamedTuple):
    """A number, and how it is written for people."""

    value: float | None
    text: str

    def __str__(self) -> str:
        return self.text


PrintedCell = str | Amount


def amount(value: float | None, digits: int = 4) -> Amount:
    """Return a number that is written with so many significant digits."""
    return Amount(value, number(value, digits))


def count(value: int) -> Amount:
    """Return a count."""
    return Amount(value, f"{value:,}")


def share(value: float | None) -> Amount:
    """Return a share that is written in percent."""
    return Amount(value, "-" if value is None else f"{number(100 * value, 3)} %")


class TableColumn(NamedTuple):
    """A column: its heading, and what becomes of it where there is no room for all."""

    name: str
    unit: str = ""
    left: bool = False  # flush left: words; else flush right: numbers
    rank: int = 0  # 0: always shown; of the others the highest is left out first
    wraps: bool = False  # its words may go on in further lines


class Table(NamedTuple):
    """Rows of cells, one for each column."""

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[PrintedCell]]
    title: str = ""
    splits: bool = (
        False  # columns of one rank that find no room go into a further table, behind those of rank 0
    )


class Facts(NamedTuple):
    """Labels with what they say; a label that is empty goes on with the one above."""

    pairs: Sequence[tuple[str, str]]


class Words(NamedTuple):
    """Lines of words; ``exact`` ones, such as commands, are not to be broken."""

    lines: Sequence[str]
    kind: LineKind = "words"
    exact: bool = False


PrintedPart = Table | Facts | Words


class PrintedLine(NamedTuple):
    """A line of text and what it is."""

    text: str
    kind: LineKind


@dataclass(frozen=True)
class Document:
    """What a command prints, part by part."""

    parts: Sequence[PrintedPart] = field(default_factory=list)

    def __str__(self) -> str:
        return self.render()

    def __add__(self, other: "Document") -> "Document":
        return Document([*self.parts, *other.parts])

    def lines(self, width: int | None = None) -> list[PrintedLine]:
        """Return plain lines of at most ``width`` characters, but for words that are longer; None: of any length."""
        found: list[PrintedLine] = []
        for part in self.parts:
            lines = list(_lines(part, width))
            if found and lines:
                found.append(PrintedLine("", "words"))
            found += lines
        return found

    def render(self, form: Form = "plain", width: int | None = None) -> str:
        """Return the text; a width is for plain text only."""
        if form == "plain":
            return "".join(f"{line.text}\n" for line in self.lines(width))
        from simulator.report import formats

        return formats.render(self, form)

    @property
    def tables(self) -> list[Table]:
        """The tables in it."""
        return [part for part in self.parts if isinstance(part, Table)]


def _lines(part: PrintedPart, width: int | None) -> Iterator[PrintedLine]:
    if isinstance(part, Table):
        yield from _table_lines(part, width)
    elif isinstance(part, Facts):
        indent = max((len(label) for label, _ in part.pairs), default=0) + len(GAP)
        for label, text in part.pairs:
            for i, line in enumerate(_wrapped(text, None if width is None else width - indent)):
                yield PrintedLine(f"{label if i == 0 else '':<{indent}}{line}".rstrip(), "words")
    else:
        for line in part.lines:
            for each in [line] if part.exact else _hanging(line, width):
                yield PrintedLine(each, part.kind)


def _hanging(line: str, width: int | None) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    found = _wrapped(line.strip(), None if width is None else width - len(indent))
    return [f"{indent}{each}".rstrip() for each in found]


def _wrapped(text: str, width: int | None) -> list[str]:
    """Break between words; a word that is longer has a line of its own."""
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]


def _table_lines(table: Table, width: int | None) -> Iterator[PrintedLine]:
    if table.title:
        for line in _wrapped(table.title, width):
            yield PrintedLine(line, "title")
    every = list(range(len(table.columns)))
    whole = _laid_out(table, every, width)
    if whole is not None:
        yield from whole
    elif table.splits and any(each.rank for each in table.columns):
        yield from _in_several(table, width or 0)
    else:
        yield from _fewer_columns(table, width or 0)


def _fewer_columns(table: Table, width: int) -> Iterator[PrintedLine]:
    shown = list(range(len(table.columns)))
    while any(table.columns[i].rank for i in shown):
        shown.remove(max(shown, key=lambda i: (table.columns[i].rank, i)))
        lines = _laid_out(table, shown, width)
        if lines is not None:
            yield from lines
            names = [each.name for i, each in enumerate(table.columns) if i not in shown]
            note = f"left out at {width} columns: {', '.join(names)}"
            yield from (PrintedLine(line, "words") for line in _wrapped(note, width))
            return
    yield from _block_a_row(table, width)


def _in_several(table: Table, width: int) -> Iterator[PrintedLine]:
    """Put as many ranks beside one another as there is room for."""
    keys = [i for i, each in enumerate(table.columns) if not each.rank]
    ranks = sorted({each.rank for each in table.columns if each.rank})
    groups = [[i for i, each in enumerate(table.columns) if each.rank == rank] for rank in ranks]
    found: list[list[PrintedLine]] = []
    while groups:
        for many in range(len(groups), 0, -1):
            chosen = [*keys, *(i for group in groups[:many] for i in group)]
            lines = _laid_out(table, chosen, width)
            if lines is not None:
                break
        else:
            yield from _block_a_row(table, width)
            return
        found.append(lines)
        groups = groups[many:]
    for i, lines in enumerate(found):
        if i:
            yield PrintedLine("", "words")
        yield from lines


def _block_a_row(table: Table, width: int) -> Iterator[PrintedLine]:
    first, *others = table.columns
    labels = [f"{each.name} ({each.unit})" if each.unit else each.name for each in others]
    indent = min(max(map(len, labels), default=0), max(width // 2, 1)) + 2 * len(GAP)
    for row in table.rows:
        head = " ".join(each for each in (first.name, str(row[0])) if each)
        yield from (PrintedLine(line, "head") for line in _wrapped(head, width))
        for label, cell in zip(labels, row[1:], strict=True):
            text = _wrapped(str(cell), width - indent)
            if len(label) > indent - 2 * len(GAP):
                yield from (PrintedLine(GAP + line, "row") for line in _wrapped(label, width - len(GAP)))
                label = ""
            for i, line in enumerate(text):
                yield PrintedLine(f"{GAP + label if i == 0 else '':<{indent}}{line}".rstrip(), "row")


def _laid_out(table: Table, shown: Sequence[int], width: int | None) -> list[PrintedLine] | None:
    """Return the lines of some columns; None where they find no room."""
    columns = [table.columns[i] for i in shown]
    cells = [[str(row[i]) for i in shown] for row in table.rows]
    bodies = [max((len(row[i]) for row in cells), default=0) for i in range(len(columns))]
    widths = [max(body, len(each.name), len(each.unit)) for body, each in zip(bodies, columns, strict=True)]
    room = None if width is None else width - len(GAP) * (len(columns) - 1)
    if room is not None and sum(widths) > room:  # headings go on below
        heads = [max(_longest_word(each.name), _longest_word(each.unit)) for each in columns]
        widths = [max(body, head) for body, head in zip(bodies, heads, strict=True)]
        if sum(widths) > room:
            least = [
                max(head, max((_longest_word(row[i]) for row in cells), default=0))
                if each.wraps
                else widths[i]
                for i, (each, head) in enumerate(zip(columns, heads, strict=True))
            ]
            if sum(least) > room:
                return None
            widths = _shrunk(widths, least, room)
    return list(_set(columns, cells, widths))


def _shrunk(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Take from the widest that may give, until all fit."""
    found = list(widths)
    while sum(found) > room:
        giving = [i for i, each in enumerate(found) if each > least[i]]
        found[max(giving, key=lambda i: found[i])] -= 1
    return found


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _set(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> Iterator[PrintedLine]:
    names = [_wrapped(each.name, width) for each, width in zip(columns, widths, strict=True)]
    units = [_wrapped(each.unit, width) for each, width in zip(columns, widths, strict=True)]
    heads = [(names, True), (units, False)] if any(each.unit for each in columns) else [(names, True)]
    for cells, at_the_bottom in heads:
        yield from (PrintedLine(line, "head") for line in _beside(columns, cells, widths, at_the_bottom))
    for row in rows:
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        yield from (PrintedLine(line, "row") for line in _beside(columns, cells, widths))


def _beside(
    columns: Sequence[TableColumn],
    cells: Sequence[list[str]],
    widths: Sequence[int],
    at_the_bottom: bool = False,
) -> Iterator[str]:
    height = max(map(len, cells))
    for i in range(height):
        line = []
        for column, cell, width in zip(columns, cells, widths, strict=True):
            at = i - (height - len(cell)) if at_the_bottom else i
            text = cell[at] if 0 <= at < len(cell) else ""
            line.append(text.ljust(width) if column.left else text.rjust(width))
        yield GAP.join(line).rstrip()
