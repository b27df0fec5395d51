"""CSV files of which a format only renames columns and reads dates: read with pyarrow, a block at a time.

It reads what ``RecordsFile`` reads, to the bit, in less than a tenth of the time. Where a block holds what is not that
plain (an empty cell, another spelling of a date, a row that is wrong), all from there on is read row by row, which also
says what is wrong and in which line.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.workload.arrow_tables import csv_stream
from simulator.workload.containers import Batch, Wanted
from simulator.workload.formats import PlainColumns, RecordFormat
from simulator.workload.parsed_file import RecordsFile
from simulator.workload.records import RecordSource
from simulator.workload.values import UNITS_NS, time_ns

if TYPE_CHECKING:
    import pyarrow as pa

_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_COUNT = re.compile(r"\d+(\.\d*)?")
_DATES_NS, _LATEST_NS = 10**17, 9 * 10**18  # from 1973 on a number is a date; 2255
_LEAST_DATE = 1e8  # what is less is a date in none of the units that its size suggests
_EXACT = 2.0**53  # up to which floats are exact whole numbers


class _Times(NamedTuple):
    """How a column of times is read."""

    type: "pa.DataType"
    unit_ns: int
    dates: bool
    least_ns: int = _DATES_NS

    def read(self, column: "pa.Array") -> Ints | Floats | None:
        """Return dates in ns since 1970, other times in s; None if they are not all what the first one is."""
        import pyarrow as pa

        if not self.dates:
            count: Floats = np.from_dlpack(column).astype(np.float64)
            good = (count >= 0) & (count < min(_LEAST_DATE, _DATES_NS / self.unit_ns))
            return count * self.unit_ns / 1e9 if good.all() else None
        numbers: Ints = np.from_dlpack(column.cast(pa.int64())).astype(np.int64)
        good = (numbers >= self.least_ns // self.unit_ns) & (numbers < _LATEST_NS // self.unit_ns)
        return numbers * self.unit_ns if good.all() else None


class PlainCsv(RecordsFile):
    """Such a file: its rows have an arrival, a prompt and an output."""

    def __init__(
        self, path: Path, records: RecordSource, fmt: RecordFormat, sorts: bool, plain: PlainColumns
    ) -> None:
        self._plain = plain
        super().__init__(path, records, fmt, sorts, None)

    def _header(self) -> list[str]:
        return ["arrival_s", "prompt_tokens", "output_tokens"]

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As the base class."""
        self.rows, row, first = None, 0, None
        for numbers in self._arranged() if self._sorts else self._blocks():
            times = numbers["arrival_s"]
            first = times[0] if first is None else first
            arrival_s = (times - first) / 1e9 if times.dtype == np.int64 else times  # ns since 1970
            floats = {name: column.astype(np.float64) for name, column in numbers.items()}
            yield Batch(row, len(times), floats | {"arrival_s": arrival_s.astype(np.float64)})
            row += len(times)
        if self.rows is None:
            yield from _behind(super().batches(wanted), row)

    def _arranged(self) -> Iterator[dict[str, Ints | Floats]]:
        """Yield all rows at once, in order of arrival; nothing if they are not all plain."""
        blocks = list(self._blocks())
        if self.rows is None:
            return
        columns = {name: np.concatenate([each[name] for each in blocks]) for name in blocks[0]}
        times = columns["arrival_s"]
        self.out_of_order = int((times < np.maximum.accumulate(times)).sum())
        order = np.argsort(times, kind="stable")
        yield {name: column[order] for name, column in columns.items()}

    def _blocks(self) -> Iterator[dict[str, Ints | Floats]]:
        """Yield the columns of blocks as long as they are plain; if all are, ``rows`` is then their number."""
        import pyarrow as pa

        times, rows = self._times(), 0
        if times is None:
            return
        plain = self._plain
        types = {plain.arrival: times.type, plain.prompt: pa.float64(), plain.output: pa.float64()}
        try:
            for found in csv_stream(self.path, self._records.header, types, *self._records.begins):
                if not found.num_rows:
                    continue
                if any(column.null_count for column in found.columns):
                    return
                arrival = times.read(found.column(plain.arrival))
                prompt, output = (
                    np.from_dlpack(found.column(name)).astype(np.float64)
                    for name in (plain.prompt, plain.output)
                )
                whole = all(
                    ((column == np.floor(column)) & (np.abs(column) < _EXACT)).all()
                    for column in (prompt, output)
                )
                if arrival is None or not whole:
                    return
                yield {"arrival_s": arrival, "prompt_tokens": prompt, "output_tokens": output}
                rows += found.num_rows
        except (pa.ArrowException, OSError, EOFError):
            return
        self.rows = rows

    def _times(self) -> _Times | None:
        """Tell by the first row how times are read; None if it is not plain."""
        import pyarrow as pa

        _, record = next(self._records.entries())
        if not isinstance(record, dict):
            return None
        cell, unit = record[self._plain.arrival].strip(), self._plain.unit
        try:
            if unit == "iso" or (unit is None and not _COUNT.fullmatch(cell)):
                time_ns(cell, "", "iso")
                zone = "UTC" if _ZONE.search(cell) else None
                return _Times(pa.timestamp("ns", zone), 1, True, -_LATEST_NS if unit == "iso" else _DATES_NS)
            guess = next(each for each in UNITS_NS if time_ns(cell, "", each) == time_ns(cell, ""))
        except (ValueError, StopIteration):
            return None
        if float(cell) < _LEAST_DATE:
            return _Times(pa.float64(), UNITS_NS[unit or "s"], False)
        return (
            _Times(pa.int64(), UNITS_NS[guess], True) if unit in (None, guess) and cell.isdecimal() else None
        )


def _behind(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """Yield what lies behind the first so many rows."""
    for batch in batches:
        skip = max(0, rows - batch.first_row)
        if skip < batch.rows:
            numbers = {name: column[skip:] for name, column in batch.numbers.items()}
            yield replace(batch, first_row=batch.first_row + skip, rows=batch.rows - skip, numbers=numbers)
