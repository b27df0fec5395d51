"""Tables in CSV files."""

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.workload import arrow_tables
from simulator.workload.block_ids import BlockIds
from simulator.workload.containers import Batch, TextFile, Wanted, coded, recoded
from simulator.workload.quotes import check_quotes, csv_rows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

# Up to this much text is read in plain Python, which takes as long as it takes to import pyarrow.
SMALL_BYTES = 3 * 2**18
_GZIPPED = 8  # times smaller than its text that a file may be


def is_large(path: Path) -> bool:
    """Tell whether a file is large enough for pyarrow to be worth its import."""
    return path.stat().st_size > (SMALL_BYTES // _GZIPPED if path.name.endswith(".gz") else SMALL_BYTES)


_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE | re.ASCII
)


class CsvFile(TextFile):
    """A CSV file, plain or gzipped, with the column names in its first row."""

    kind = "CSV"
    separated = ", separated by commas"
    labels_are_texts = True

    def where(self, row: int) -> str:
        """As the base class."""
        for i, (line, _) in enumerate(self._rows()):
            if i == row + 1:  # row 0 of the file is the header
                return f"{self.path}: line {line}"
        return f"{self.path}: row {row + 1}"

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As the base class."""
        for name in wanted.lists:
            raise InputError(
                f"{self.path}: column {name} is a list, which CSV cannot hold; expected .parquet or .jsonl"
            )
        return self._with_arrow(wanted) if self._text is None else self._in_python(wanted)

    def _header(self) -> list[str]:
        self._text = self._small_text()
        self.header_line = 0
        for line, cells in self._rows():
            self.header_line = line
            return [cell.strip() for cell in cells]
        return []

    def _small_text(self) -> str | None:
        """Return all of a small file."""
        try:
            with self._open() as file:
                data = file.read(SMALL_BYTES + 1)
            return data.decode("utf-8-sig") if len(data) <= SMALL_BYTES else None
        except UnicodeDecodeError as error:
            raise self._no_text(error) from error
        except (OSError, EOFError, zlib.error) as error:
            raise self.unreadable(error) from error

    def _lines(self) -> Iterator[str]:
        return super()._lines() if self._text is None else io.StringIO(self._text, newline="")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of every row that is not blank, the header included."""
        for line, cells in csv_rows(self.path, self._lines()):
            if isinstance(cells, Exception):
                raise self.unreadable(cells) from cells
            if cells:
                yield line, cells

    def _in_python(self, wanted: Wanted) -> Iterator[Batch]:
        columns, self.rows = self._cells(wanted)
        if not self.rows:
            return
        numbers = {name: _numbers(columns[name], False) for name in wanted.required}
        numbers |= {name: _numbers(columns[name], True) for name in wanted.optional}
        good = {name: column for name, column in numbers.items() if column is not None}
        if len(good) < len(numbers):
            self._blame(wanted, 0)
            raise self.unreadable(ValueError("a cell is no number"))
        labels = {name: coded([cell.strip() or None for cell in columns[name]]) for name in wanted.labels}
        yield Batch(0, self.rows, good, {}, labels)

    def _cells(self, wanted: Wanted) -> tuple[dict[str, Sequence[str]], int]:
        """Return all cells of a small file by column, and how many rows there are."""
        text, width = self._text or "", len(self.header)
        if '"' not in text:  # as the other way, and faster, as it makes no list for each row
            lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line][1:]
            if {line.count(",") for line in lines} == {width - 1}:
                cells = ",".join(lines).split(",")
                return {name: cells[i::width] for i, name in enumerate(self.header)}, len(lines)
        rows = [cells for _, cells in self._rows()][1:]
        if any(len(cells) != width for cells in rows):
            self._blame(wanted, 0)
        return {name: [cells[i] for cells in rows] for i, name in enumerate(self.header)}, len(rows)

    def _with_arrow(self, wanted: Wanted) -> Iterator[Batch]:
        import pyarrow as pa

        row = 0
        try:
            for found in self._stream(wanted):
                if found.num_rows:
                    batch = self._checked(found, row, wanted)
                    labels = {
                        name: recoded(codes, [str(text).strip() or None for text in texts])
                        for name, (codes, texts) in batch.labels.items()
                    }
                    yield replace(batch, labels=labels)
                row += found.num_rows
            check_quotes(self.path, self._quotes(), self._lines())
        except (pa.ArrowException, OSError, EOFError) as error:
            self._blame(wanted, row)
            raise self.unreadable(error) from error

    def _quotes(self) -> int:
        """Return how many quotes there are in the file."""
        with self._open() as file:
            return sum(part.count(b'"') for part in iter(partial(file.read, 2**20), b""))

    def _checked(self, found: "pa.RecordBatch", row: int, wanted: Wanted) -> Batch:
        try:
            return arrow_tables.batch(found, row, wanted, self.where, BlockIds())
        except InputError:
            self._blame(wanted, row)  # the first line that is wrong, whichever of its cells is
            raise

    def _stream(self, wanted: Wanted) -> "pa_csv.CSVStreamingReader":
        import pyarrow as pa

        numbers = [*wanted.required, *wanted.optional]
        types = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(wanted.labels, pa.string())
        return arrow_tables.csv_stream(self.path, self.header, types, self.header_line)

    def _blame(self, wanted: Wanted, good_rows: int) -> None:
        """Raise the ``InputError`` of the first bad row after so many good ones, if one can be told."""
        positions = [(name, self.header.index(name)) for name in [*wanted.required, *wanted.optional]]
        for row, (line, cells) in enumerate(self._rows(), start=-1):
            if row < good_rows:
                continue
            place = f"{self.path}: line {line}"
            if len(cells) != len(self.header):
                raise InputError(f"{place}: {len(cells)} values found; expected {len(self.header)}")
            for name, position in positions:
                cell = cells[position].strip(" \t")
                if not cell and name in wanted.required:
                    raise InputError(f"{place}: {name} is empty; expected a number")
                if cell and not _NUMBER.fullmatch(cell):
                    raise InputError(f"{place}: {name} is {cell!r}; expected a number")


def _numbers(cells: Sequence[str], may_be_empty: bool) -> Floats | None:
    """Return a column of cells as numbers; None if one of them is none."""
    together = "".join(cells)
    if "_" in together or not together.isascii():  # which Python takes for part of a number
        return None
    try:
        if may_be_empty:
            return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
        return np.array(list(map(float, cells)))
    except ValueError:
        return None
