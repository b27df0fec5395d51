"""Tables in files, read batch by batch: what CSV, JSON lines and Parquet files have in common.

Every problem becomes one ``InputError`` that names the file and the line (text; the first is line 1) or the
row (Parquet; the first is row 1).
"""

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple, cast

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError

LONGEST_LINE = 2**26  # characters; gzip makes of a megabyte more than memory holds
BATCH_ROWS = 65_536  # held at a time, beside what is kept of them

Label = int | str  # what names a session or a tenant


class Wanted(NamedTuple):
    """The columns to read; an empty cell is NaN in an ``optional`` one of numbers, and refused in others."""

    required: Sequence[str] = ()
    optional: Sequence[str] = ()
    lists: Sequence[str] = ()  # of whole numbers
    labels: Sequence[str] = ()  # whole numbers or texts


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, one after another."""

    first_row: int  # its number in the table, from 0
    rows: int
    numbers: dict[str, Floats]
    lists: dict[str, tuple[Ints, Ints]] = field(
        default_factory=dict
    )  # all numbers; offsets of each row's first
    # Which of the labels each row has, -1 where its cell is empty; the labels in order of appearance.
    labels: dict[str, tuple[Ints, list[Label]]] = field(default_factory=dict)


class Container(ABC):
    """One open file: its column names, its columns, and how to say where a row is."""

    kind: str  # what the file is, in error sentences
    separated: ClassVar[str] = ""  # by what, where that may be what is wrong with its columns
    labels_are_texts: ClassVar[bool] = False  # so that only all of a column tells whether it is of numbers

    def __init__(self, path: Path) -> None:
        """Read the names of the columns into ``header``."""
        self.path = path
        self.rows: int | None = None  # how many there are, where the file says so
        self.late: set[str] = set()  # columns that came up after ``header`` was read
        self.header = self._header()

    @abstractmethod
    def _header(self) -> list[str]:
        """Return the names of the columns; none if the file is empty."""

    @abstractmethod
    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Yield the rows from the first on; none of the batches is empty."""

    @abstractmethod
    def where(self, row: int) -> str:
        """Name a row (counted from 0) the way an editor or a table viewer counts."""

    def look_through(self) -> None:
        """Find all names of columns, where ``header`` may not have them all."""
        self.late = set()

    def unreadable(self, error: BaseException) -> InputError:
        """Return what to say when the operating system or a decoder gives up."""
        if isinstance(error, PermissionError):
            return InputError(f"{self.path}: permission denied; expected a file that can be read")
        kind = f"gzipped {self.kind}" if self.path.name.endswith(".gz") else self.kind
        reason = " ".join(str(error).split()).rstrip(".")[:160]
        return InputError(f"{self.path}: not a readable {kind} file (damaged or cut short?): {reason}")


class TextFile(Container):
    """What is made of lines of text, plain or gzipped."""

    def _open(self) -> BinaryIO:
        return cast(
            BinaryIO, gzip.open(self.path) if self.path.name.endswith(".gz") else self.path.open("rb")
        )

    def _lines(self) -> Iterator[str]:
        """Yield the lines, whatever ends them."""
        opener = gzip.open if self.path.name.endswith(".gz") else open
        try:
            with opener(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                for line in iter(partial(file.readline, LONGEST_LINE), ""):
                    if len(line) == LONGEST_LINE and not self._in_pieces(line):
                        raise InputError(
                            f"{self.path}: a line of more than {LONGEST_LINE:,} characters found; expected shorter ones"
                        )
                    yield line
        except UnicodeDecodeError as error:
            raise self._no_text(error) from error
        except (OSError, EOFError, zlib.error) as error:
            raise self.unreadable(error) from error

    def _in_pieces(self, line: str) -> bool:
        """Whether a line without end may come in pieces: an array in JSON, whose entries are read one by one.

        So may any JSON that is not packed, as it is no larger than its file.
        """
        self._pieces = (
            getattr(self, "_pieces", False)
            or line.lstrip()[:1] == "["
            or (line.lstrip()[:1] == "{" and not self.path.name.endswith(".gz"))
        )
        return self._pieces

    def _no_text(self, error: UnicodeDecodeError) -> InputError:
        return InputError(f"{self.path}: not UTF-8 text{self._hint()}; expected {self.kind} text")

    def _hint(self) -> str:
        """Say what a file of undecodable bytes is, where its first bytes or the bad line tell."""
        if self.path.name.endswith(".gz"):
            return ""
        data = self.path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            return f" but gzipped (its name should end in {self.path.suffix}.gz)"
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return " but UTF-16"
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            return f" (line {data.count(10, 0, error.start) + 1})"
        return ""


class AnyText(TextFile):
    """A file read as lines of text, whatever they hold."""

    def __init__(self, path: Path) -> None:
        name = path.name.removesuffix(".gz")
        self.kind = "JSON lines" if name.endswith(".jsonl") else "CSV" if name.endswith(".csv") else "text"
        super().__init__(path)

    def lines(self) -> Iterator[str]:
        """Yield the lines, whatever ends them."""
        return self._lines()

    def _header(self) -> list[str]:
        return []

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Yield nothing: it has no columns."""
        return iter(())

    def where(self, row: int) -> str:
        """As the base class."""
        return f"{self.path}: line {row + 1}"


def first_line(path: Path) -> str:
    """Return the first line of a text file that is not blank; nothing if there is none that can be read."""
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            return next((line for line in iter(partial(file.readline, LONGEST_LINE), "") if line.strip()), "")
    except (OSError, EOFError, zlib.error):
        return ""


def coded(labels: Sequence[Label | None]) -> tuple[Ints, list[Label]]:
    """Return labels as a ``Batch`` has them; None is an empty cell."""
    numbered: dict[Label, int] = {}
    codes = [-1 if label is None else numbered.setdefault(label, len(numbered)) for label in labels]
    return np.array(codes, np.int64), list(numbered)


def recoded(codes: Ints, labels: Sequence[Label | None]) -> tuple[Ints, list[Label]]:
    """Return coded labels after a look at the labels: some may be alike now, None is an empty cell."""
    places, kept = coded(labels)
    return np.append(places, -1)[codes], kept
