"""Files that a format of ``simulator/workload/formats`` makes rows of: from records, or from lines of text."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from simulator.errors import InputError
from simulator.workload.formats import FaultyRecordError, NumberedRow, Parser, RecordFormat, TraceRow
from simulator.workload.records import BadRecord, RecordSource
from simulator.workload.rows_file import Entry, RowsFile, shown
from simulator.workload.skipped import Skipped
from simulator.workload.tokenizer import TokenCounter
from simulator.workload.values import ESTIMATED, counted_by

Given = TypeVar("Given")
Made = TypeVar("Made")


class MadeRows(RowsFile):
    """Rows that a format makes; those with ``time_ns`` arrive from the file's first on."""

    kind = "text"

    def __init__(self, path: Path, name: str, sorts: bool) -> None:
        self._name = name
        self._sorts = sorts
        self.notes: Counter[str] = Counter()  # what rows say of themselves, and how many do
        self.out_of_order = 0  # rows that stood behind later ones, before they were put in order
        super().__init__(path)

    def _entries(self) -> Iterator[Entry]:
        self.notes = Counter()
        made = self._in_order() if self._sorts else self._made()
        first_ns: int | None = None
        for number, row in made:
            if "time_ns" in row:
                time_ns = row.pop("time_ns")
                first_ns = time_ns if first_ns is None else first_ns
                row["arrival_s"] = (time_ns - first_ns) / 1e9
            if "note" in row:
                self.notes[row.pop("note")] += 1
            yield number, row

    def _in_order(self) -> Iterator[Entry]:
        """Yield all rows in order of arrival; one without stays behind the one before it in its session."""
        keys: list[tuple[float, int]] = []
        entries, latest = list(self._made()), float("-inf")
        self.out_of_order = 0
        last: dict[str, float] = {}
        for i, (_, row) in enumerate(entries):
            session = f"{row.get('session_id')} {row.get('agent_id')}"
            time = row.get("time_ns", row.get("arrival_s"))
            if not isinstance(time, (int, float)) or time != time:
                time = last.get(session, 0)
            last[session] = time
            self.out_of_order += time < latest
            latest = max(latest, time)
            keys.append((time, i))
        return (entries[i] for _, i in sorted(keys))

    def _made(self) -> Iterator[Entry]:
        """Yield what the format makes of the file; raise ``InputError`` for what it cannot read."""
        raise NotImplementedError

    def _fault(self, number: int, error: Exception) -> InputError:
        problem = f"no {error} found" if type(error) is KeyError else f"{type(error).__name__} {error}"
        if type(error) in (ValueError, TypeError):
            problem = str(error)
        return InputError(f"{self._place(number)}: {problem} (trace format {self._name})")


class ParsedFile(MadeRows):
    """A file of lines, plain or gzipped, and what a parser makes of them."""

    def __init__(self, path: Path, parser: Parser) -> None:
        self._parser = parser
        super().__init__(path, parser.name, sorts=False)

    def _made(self) -> Iterator[Entry]:
        line = 0

        def counted() -> Iterator[str]:
            nonlocal line
            for text in self._lines():
                line += 1
                yield text.rstrip("\r\n")

        try:
            for row in self._parser.parse(counted()):
                if not isinstance(row, dict):
                    raise TypeError(f"{shown(row)} made of it; expected a row like {{'column': value}}")
                yield line, dict(row)
        except InputError:
            raise
        except Exception as error:
            raise self._fault(line, error) from error


class RecordsFile(MadeRows):
    """A file of records, and what a format makes of each."""

    lists_may_lack = True

    def __init__(
        self,
        path: Path,
        records: RecordSource,
        fmt: RecordFormat,
        sorts: bool,
        skipped: Skipped | None,
        tokenizer: TokenCounter | None = None,
    ) -> None:
        self.skipped = skipped
        self._tokenizer = tokenizer
        self._records = records
        self._fmt = fmt
        self.unit = records.unit
        super().__init__(path, fmt.name, fmt.sorts or sorts)

    def named(self, number: int | str) -> str:
        """As the base class; of several files with the name of the file."""
        of_files = self._records.place
        return super().named(number) if of_files is None or isinstance(number, str) else of_files(number)

    def _place(self, number: int | str) -> str:
        return super()._place(number) if self._records.place is None else self.named(number)

    def _made(self) -> Iterator[Entry]:
        if self._fmt.of_all is not None:
            yield from self._of_all(self._fmt.of_all)
            return
        rows = self._fmt.begin()
        for number, record in self._good_records():
            made: list[TraceRow] = []
            try:
                made = self._counted(partial(_all, rows, record))
            except InputError:
                raise
            except Exception as error:
                self._left_out(number, self._fault(number, error), error)
            for row in made:
                yield number, self._said(row)

    def _counted(self, make: Callable[[], list[Made]]) -> list[Made]:
        """Return what is made while the tokens of texts are counted by the tokenizer, if there is one."""
        if self._tokenizer is None:
            return make()
        token = counted_by.set(self._tokenizer.count)
        try:
            return make()
        finally:
            counted_by.reset(token)

    def _said(self, row: TraceRow) -> TraceRow:
        if self._tokenizer is not None and row.get("note") == ESTIMATED:
            row["note"] = self._tokenizer.said
        return row

    def _good_records(self) -> Iterator[tuple[int, TraceRow]]:
        for number, record in self._records.entries():
            if isinstance(record, BadRecord):
                self._left_out(number, InputError(f"{self._place(number)}: {record.problem}"))
            else:
                yield number, record

    def _of_all(self, make: Callable[[list[NumberedRow]], Iterable[NumberedRow]]) -> Iterator[Entry]:
        """Yield what is made of all records together."""
        try:
            records = list(self._good_records())
            for number, row in self._counted(partial(_all, make, records)):
                yield number, self._said(row)
        except FaultyRecordError as error:
            raise self._fault(error.number, ValueError(str(error))) from error

    def _left_out(self, number: int, problem: InputError, cause: Exception | None = None) -> None:
        if self.skipped is None:
            raise problem from cause
        self.skipped.add(number, str(problem))


def _all(make: Callable[[Given], Iterable[Made]], given: Given) -> list[Made]:
    return list(make(given))
