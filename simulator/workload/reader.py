"""Reading a table of requests: Parquet, CSV or gzipped CSV, in any known trace format.

Every problem becomes one ``InputError`` that names the file and the line (CSV; the header is line 1) or
the row (Parquet; the first is row 1).
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.workload.formats import all_formats
from simulator.workload.library import SUFFIXES
from simulator.workload.workload import check_arrivals, whole_numbers

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)


def read_trace(path: Path) -> tuple[Floats, Ints, Ints]:
    """Return arrival times (s, ascending) and prompt and output tokens of a trace file.

    Raises ``InputError`` for a file that cannot be read, lacks the columns of every known format,
    holds no rows, or holds a value that is not finite, not ascending or not positive.
    """
    return _Table(path, "trace", [fmt.columns for fmt in all_formats()]).trace()


def read_lengths(path: Path) -> tuple[Ints, Ints]:
    """Return prompt and output tokens of a table of lengths; arrival times need not be there.

    Raises ``InputError`` as ``read_trace`` does.
    """
    return _Table(path, "length table", [fmt.columns[1:] for fmt in all_formats()]).lengths()


def describe(path: Path) -> tuple[int, str, str]:
    """Return (rows, source, licence) of a Parquet file, the latter two from its schema metadata."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    notes = footer.metadata or {}
    return footer.num_rows, notes.get(b"source", b"").decode(), notes.get(b"license", b"").decode()


class _Table:
    """One open table: its columns as float64, and how to say where a row is."""

    def __init__(self, path: Path, what: str, accepted: list[tuple[str, ...]]) -> None:
        self.path = path
        self.is_csv = not path.name.endswith(".parquet")
        if not path.name.endswith(SUFFIXES):
            raise InputError(
                f"{path}: cannot tell the {what}'s type; expected a name ending in {', '.join(SUFFIXES)}"
            )
        self.header_line, header = self._csv_header() if self.is_csv else (0, self._parquet_header())
        self.header = header
        names = next((columns for columns in accepted if set(columns) <= set(header)), None)
        if names is None:
            raise InputError(self._wrong_header(accepted))
        for name in names:
            if header.count(name) > 1:
                raise InputError(f"{path}: column {name} is there {header.count(name)} times; expected once")
        self.names = names
        self.columns = self._read()
        if len(self.columns[0]) == 0:
            raise InputError(f"{path}: the {what} is empty; expected at least one row below the column names")

    def trace(self) -> tuple[Floats, Ints, Ints]:
        """Check and return all three columns."""
        check_arrivals(self.names[0], self.columns[0], self.where)
        return (self.columns[0], *self.lengths())

    def lengths(self) -> tuple[Ints, Ints]:
        """Check and return the two columns of token counts."""
        prompt = whole_numbers(self.names[-2], self.columns[-2], self.where)
        return prompt, whole_numbers(self.names[-1], self.columns[-1], self.where)

    def where(self, row: int) -> str:
        """Name a row (counted from 0) the way an editor or a table viewer counts."""
        if not self.is_csv:
            return f"{self.path}: row {row + 1}"
        for i, (line, _) in enumerate(self._csv_rows()):
            if i == row + 1:  # row 0 of the file is the header
                return f"{self.path}: line {line}"
        return f"{self.path}: row {row + 1}"

    def _read(self) -> list[Floats]:
        import pyarrow as pa

        try:
            table = self._read_csv() if self.is_csv else self._read_parquet()
        except (pa.ArrowException, OSError, EOFError) as error:
            if self.is_csv:
                self._blame_csv()
            raise self._unreadable(error) from error
        columns = []
        for name in self.names:
            column = table[name].combine_chunks()
            if column.null_count:
                row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                raise InputError(f"{self.where(row)}: {name} is empty; expected a number")
            # DLPack, since pyarrow's own conversion imports pandas where that is installed
            columns.append(np.from_dlpack(column).astype(np.float64))
        return columns

    def _read_csv(self) -> "pa.Table":
        import pyarrow as pa
        import pyarrow.csv as pa_csv

        types = dict.fromkeys(self.names, pa.float64())
        return pa_csv.read_csv(
            self.path,
            read_options=pa_csv.ReadOptions(column_names=self.header, skip_rows=self.header_line),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=list(self.names), null_values=[""]
            ),
        )

    def _read_parquet(self) -> "pa.Table":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.ParquetFile(self.path, page_checksum_verification=True).read(columns=list(self.names))
        for name in self.names:
            kind = table.schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise InputError(f"{self.path}: column {name} holds {kind}; expected numbers")
        return table

    def _parquet_header(self) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names: list[str] = pq.read_schema(self.path).names
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        return names

    def _csv_header(self) -> tuple[int, list[str]]:
        for line, cells in self._csv_rows():
            return line, [cell.strip() for cell in cells]
        return 0, []

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of every row that is not blank, the header included."""
        opener = gzip.open if self.path.name.endswith(".gz") else open
        try:
            with opener(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                rows = csv.reader(file)
                for cells in rows:
                    if cells:
                        yield rows.line_num, cells
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path}: not UTF-8 text{self._hint()}; expected comma-separated text"
            ) from error
        except (OSError, EOFError, csv.Error, zlib.error) as error:
            raise self._unreadable(error) from error

    def _blame_csv(self) -> None:
        """Raise the ``InputError`` of the first row that has a missing or a non-numeric cell, if any."""
        positions = [self.header.index(name) for name in self.names]
        for line, cells in self._csv_rows():
            if line <= self.header_line:
                continue
            if len(cells) != len(self.header):
                raise InputError(
                    f"{self.path}: line {line}: {len(cells)} values found; expected {len(self.header)}"
                )
            for name, position in zip(self.names, positions, strict=True):
                cell = cells[position].strip()
                if not cell:
                    raise InputError(f"{self.path}: line {line}: {name} is empty; expected a number")
                if not _NUMBER.fullmatch(cell):
                    raise InputError(f"{self.path}: line {line}: {name} is {cell!r}; expected a number")

    def _wrong_header(self, accepted: list[tuple[str, ...]]) -> str:
        wanted = ", or ".join("/".join(columns) for columns in accepted)
        if not self.header:
            return f"{self.path}: the file is empty; expected columns {wanted}"
        found = f"{self.path}: columns {', '.join(map(repr, self.header))} found; expected {wanted}"
        separated = len(self.header) == 1 and any(mark in self.header[0] for mark in ";\t|")
        return f"{found}, separated by commas" if self.is_csv and separated else found

    def _hint(self) -> str:
        """Say what a file of undecodable bytes is, where its first bytes or the bad line tell."""
        if self.path.name.endswith(".gz"):
            return ""
        data = self.path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            return " but gzipped (its name should end in .csv.gz)"
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return " but UTF-16"
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            return f" (line {data.count(10, 0, error.start) + 1})"
        return ""

    def _unreadable(self, error: BaseException) -> InputError:
        if isinstance(error, PermissionError):
            return InputError(f"{self.path}: permission denied; expected a file that can be read")
        kind = "gzipped CSV" if self.path.name.endswith(".gz") else "CSV" if self.is_csv else "Parquet"
        reason = " ".join(str(error).split()).rstrip(".")[:160]
        return InputError(f"{self.path}: not a readable {kind} file (damaged or cut short?): {reason}")
