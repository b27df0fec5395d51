"""Tables in files: CSV (also gzipped), JSON lines (also gzipped) and Parquet, read column by column.

Every problem becomes one ``InputError`` that names the file and the line (text; the first is line 1) or the
row (Parquet; the first is row 1).
"""

import csv
import gzip
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Label = int | str | None  # what names a session or a tenant

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}")


class Container(ABC):
    """One open file: its column names, its columns, and how to say where a row is."""

    kind: ClassVar[str]  # what the file is, in error sentences
    separated: ClassVar[str] = ""  # by what, where that may be what is wrong with its columns

    def __init__(self, path: Path) -> None:
        """Read the names of the columns into ``header``."""
        self.path = path
        self.header = self._header()

    @abstractmethod
    def _header(self) -> list[str]:
        """Return the names of the columns; none if the file is empty."""

    @abstractmethod
    def numbers(self, required: Sequence[str], optional: Sequence[str]) -> dict[str, Floats]:
        """Return columns of numbers by name; an empty cell is NaN in an ``optional`` one, else refused."""

    @abstractmethod
    def lists(self, name: str) -> tuple[Ints, Ints]:
        """Return a column of lists of whole numbers: all numbers, and the offsets of each row's first."""

    @abstractmethod
    def labels(self, name: str) -> list[Label]:
        """Return a column of whole numbers or texts; None where a cell is empty."""

    @abstractmethod
    def where(self, row: int) -> str:
        """Name a row (counted from 0) the way an editor or a table viewer counts."""

    def unreadable(self, error: BaseException) -> InputError:
        """Return what to say when the operating system or a decoder gives up."""
        if isinstance(error, PermissionError):
            return InputError(f"{self.path}: permission denied; expected a file that can be read")
        kind = f"gzipped {self.kind}" if self.path.name.endswith(".gz") else self.kind
        reason = " ".join(str(error).split()).rstrip(".")[:160]
        return InputError(f"{self.path}: not a readable {kind} file (damaged or cut short?): {reason}")

    def _lines(self) -> Iterator[str]:
        """Yield the lines of a text file, plain or gzipped."""
        opener = gzip.open if self.path.name.endswith(".gz") else open
        try:
            with opener(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                yield from file
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path}: not UTF-8 text{self._hint()}; expected {self.kind} text"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise self.unreadable(error) from error

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


class _Arrow(Container):
    """What is read with pyarrow."""

    @abstractmethod
    def _table(self, names: list[str]) -> "pa.Table": ...

    def numbers(self, required: Sequence[str], optional: Sequence[str]) -> dict[str, Floats]:
        """As the base class."""
        import pyarrow as pa

        try:
            table = self._table([*required, *optional])
        except (pa.ArrowException, OSError, EOFError) as error:
            self._blame(required, optional)
            raise self.unreadable(error) from error
        columns = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if column.null_count or pa.types.is_null(column.type):
                if column.null_count and name in required:
                    row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                    raise InputError(f"{self.where(row)}: {name} is empty; expected a number")
                column = column.cast(pa.float64(), safe=False).fill_null(np.nan)
            # DLPack, since pyarrow's own conversion imports pandas where that is installed
            columns[name] = np.from_dlpack(column).astype(np.float64)
        return columns

    def _blame(self, required: Sequence[str], optional: Sequence[str]) -> None:
        """Raise the ``InputError`` of the first bad row, if one can be told."""


class ParquetFile(_Arrow):
    """A Parquet file."""

    kind = "Parquet"

    def where(self, row: int) -> str:
        """As the base class."""
        return f"{self.path}: row {row + 1}"

    def lists(self, name: str) -> tuple[Ints, Ints]:
        """As the base class."""
        import pyarrow as pa

        kind, wanted = self.schema.field(name).type, "expected lists of whole numbers"
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not (is_list and pa.types.is_integer(kind.value_type)):
            raise InputError(f"{self.path}: column {name} holds {kind}; {wanted}")
        try:
            column = self._read([name])[name].combine_chunks()
            if column.null_count:
                row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                raise InputError(f"{self.where(row)}: {name} is empty; expected a list of whole numbers")
            offsets = np.from_dlpack(column.offsets).astype(np.int64)
            values = column.values
            if values.null_count:
                gap = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
                row = int(np.searchsorted(offsets, gap, side="right")) - 1
                raise InputError(
                    f"{self.where(row)}: {name} lacks an entry; expected a list of whole numbers"
                )
            return np.from_dlpack(values.cast(pa.int64())).astype(np.int64), offsets
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error

    def labels(self, name: str) -> list[Label]:
        """As the base class."""
        import pyarrow as pa

        kind = self.schema.field(name).type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (text or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise InputError(f"{self.path}: column {name} holds {kind}; expected whole numbers or texts")
        try:
            found: list[Label] = self._read([name])[name].to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        return [label if label != "" else None for label in found]

    def _header(self) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self.schema = pq.read_schema(self.path)
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        return list(self.schema.names)

    def _table(self, names: list[str]) -> "pa.Table":
        import pyarrow as pa

        for name in names:
            kind = self.schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
                raise InputError(f"{self.path}: column {name} holds {kind}; expected numbers")
        return self._read(names)

    def _read(self, names: list[str]) -> "pa.Table":
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path, page_checksum_verification=True).read(columns=names)


class CsvFile(_Arrow):
    """A CSV file, plain or gzipped, with the column names in its first row."""

    kind = "CSV"
    separated = ", separated by commas"

    def where(self, row: int) -> str:
        """As the base class."""
        for i, (line, _) in enumerate(self._rows()):
            if i == row + 1:  # row 0 of the file is the header
                return f"{self.path}: line {line}"
        return f"{self.path}: row {row + 1}"

    def lists(self, name: str) -> tuple[Ints, Ints]:
        """Refuse: a cell holds one value."""
        raise InputError(
            f"{self.path}: column {name} is a list, which CSV cannot hold; expected .parquet or .jsonl"
        )

    def labels(self, name: str) -> list[Label]:
        """As the base class; a column is of whole numbers if every cell that is not empty holds one."""
        position = self.header.index(name)
        rows = (cells for line, cells in self._rows() if line > self.header_line)
        texts = [cells[position].strip() for cells in rows]
        if all(_WHOLE.fullmatch(text) for text in texts if text):
            return [int(text) if text else None for text in texts]
        return [text or None for text in texts]

    def _header(self) -> list[str]:
        self.header_line = 0
        for line, cells in self._rows():
            self.header_line = line
            return [cell.strip() for cell in cells]
        return []

    def _table(self, names: list[str]) -> "pa.Table":
        import pyarrow as pa
        import pyarrow.csv as pa_csv

        return pa_csv.read_csv(
            self.path,
            read_options=pa_csv.ReadOptions(column_names=self.header, skip_rows=self.header_line),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()), include_columns=names, null_values=[""]
            ),
        )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of every row that is not blank, the header included."""
        rows = csv.reader(self._lines())
        try:
            for cells in rows:
                if cells:
                    yield rows.line_num, cells
        except csv.Error as error:
            raise self.unreadable(error) from error

    def _blame(self, required: Sequence[str], optional: Sequence[str]) -> None:
        positions = [(name, self.header.index(name)) for name in [*required, *optional]]
        for line, cells in self._rows():
            if line <= self.header_line:
                continue
            place = f"{self.path}: line {line}"
            if len(cells) != len(self.header):
                raise InputError(f"{place}: {len(cells)} values found; expected {len(self.header)}")
            for name, position in positions:
                cell = cells[position].strip()
                if not cell and name in required:
                    raise InputError(f"{place}: {name} is empty; expected a number")
                if cell and not _NUMBER.fullmatch(cell):
                    raise InputError(f"{place}: {name} is {cell!r}; expected a number")
