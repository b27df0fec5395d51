"""Tables in text that is read row by row: a row has values under the names of columns, and may lack empty ones."""

from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.input_files import as_json, shortened
from simulator.workload.block_ids import BlockIds
from simulator.workload.containers import Batch, Label, TextFile, Wanted, coded
from simulator.workload.skipped import Skipped

_BATCH_ROWS = 16_384  # rows take some ten times the room of columns
_LARGEST = 2**63
Entry = tuple[int, dict[str, Any]]  # line number, row


class RowsFile(TextFile):
    """A file whose ``header`` is that of the first batch; ``late`` gets the names that only come up later.

    With ``skipped``, rows that are wrong by themselves or for ``check`` are left out and counted there.
    """

    lists_may_lack = False  # whether a row without a list has an empty one
    unit = "line"  # what its rows are counted in
    skipped: Skipped | None = None
    check: Callable[[Batch], None] = staticmethod(lambda batch: None)
    block_ids: str | None = None  # the column of lists whose entries are names of blocks, not numbers
    _names: BlockIds | None = None  # of these
    _begun: tuple[list[Entry], Iterator[Entry]] | None = None  # the first batch, and what yields the others

    def where(self, row: int) -> str:
        """As the base class."""
        if self.skipped is not None:
            return self._place(self._kept[row] if row < len(self._kept) else "?")
        return self._place(next(islice(self._entries(), row, None))[0])

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As the base class."""
        found, rest = self._begun or self._begin()
        self._begun = None  # so that what is held of it can go
        row, known, self._kept = 0, set(self.header), array("q")
        while found:
            is_last = len(found) < _BATCH_ROWS
            self.late |= set().union(*(entry for _, entry in found)) - known
            if self.skipped is not None:
                found = self._good(found, wanted, self.skipped)
                self._kept.extend(line for line, _ in found)
            if is_last:
                self.rows = row + len(found)
            if found:
                yield self._batch(row, found, wanted)
            row += len(found)
            found = list(islice(rest, _BATCH_ROWS))

    def _batch(self, first_row: int, found: list[Entry], wanted: Wanted) -> Batch:
        return Batch(
            first_row,
            len(found),
            {name: self._numbers(found, name, True) for name in wanted.required}
            | {name: self._numbers(found, name, False) for name in wanted.optional},
            {name: self._lists(found, name) for name in wanted.lists},
            {name: self._labels(found, name) for name in wanted.labels},
        )

    def _good(self, found: list[Entry], wanted: Wanted, skipped: Skipped) -> list[Entry]:
        """Return the rows that are right, found by halves, as most are."""
        try:
            self.check(self._batch(0, found, wanted))
        except InputError as error:
            if len(found) == 1:
                skipped.add(found[0][0], str(error))
                return []
            half = len(found) // 2
            return self._good(found[:half], wanted, skipped) + self._good(found[half:], wanted, skipped)
        return found

    def look_through(self) -> None:
        """As the base class."""
        self._begun = None
        self.header = list(dict.fromkeys(key for _, entry in self._entries() for key in entry))
        self.late = set()

    def _header(self) -> list[str]:
        """Read the first batch; the columns are those of all its rows, in order of appearance."""
        self._begun = self._begin()
        return list(dict.fromkeys(key for _, entry in self._begun[0] for key in entry))

    def _begin(self) -> tuple[list[Entry], Iterator[Entry]]:
        entries = self._entries()
        return list(islice(entries, _BATCH_ROWS)), entries

    @abstractmethod
    def _entries(self) -> Iterator[Entry]:
        """Yield the rows; raise ``InputError`` for a line that is none."""

    def _numbers(self, rows: list[Entry], name: str, required: bool) -> Floats:
        column = np.full(len(rows), np.nan)
        for i, (line, entry) in enumerate(rows):
            value: Any = entry.get(name)
            if value is None and not required:
                continue
            if type(value) not in (int, float) or abs(value) >= 1e300:
                raise self._wrong(line, name, value, "a number")
            column[i] = value
        return column

    def _lists(self, rows: list[Entry], name: str) -> tuple[Ints, Ints]:
        found: list[int] = []
        offsets = [0]
        for line, entry in rows:
            ids = entry.get(name, [] if self.lists_may_lack else None)
            if name == self.block_ids and isinstance(ids, list):
                ids = self._named(line, name, ids)
            if not isinstance(ids, list) or any(type(x) is not int or abs(x) >= _LARGEST for x in ids):
                raise self._wrong(line, name, ids, "a list of whole numbers")
            found += ids
            offsets.append(len(found))
        return np.array(found, np.int64), np.array(offsets, np.int64)

    def _named(self, line: int, name: str, ids: list[Any]) -> list[int]:
        self._names = self._names or BlockIds()
        found = self._names.of(ids)
        if found is None:
            raise self._wrong(line, name, ids, "a list of whole numbers, or of texts")
        return found

    def _labels(self, rows: list[Entry], name: str) -> tuple[Ints, list[Label]]:
        found: list[Label | None] = []
        for line, entry in rows:
            value = entry.get(name)
            if value is not None and (type(value) not in (int, str) or value == ""):
                raise self._wrong(line, name, value, "a whole number or a text")
            found.append(value)
        return coded(found)

    def _wrong(self, line: int, name: str, value: Any, expected: str) -> InputError:
        found = "empty" if value is None else shown(value)
        return InputError(f"{self._place(line)}: {name} is {found}; expected {expected}")

    def named(self, number: int | str) -> str:
        """Return what a row with this number is called, inside the file."""
        return f"{self.unit} {number}"

    def _place(self, number: int | str) -> str:
        return f"{self.path}: {self.named(number)}"


def shown(value: Any) -> str:
    """Return a value for a sentence."""
    return shortened(repr(value)) if isinstance(value, str) else as_json(value)
