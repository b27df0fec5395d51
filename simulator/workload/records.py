"""Records of a file of any kind, one after another: rows of CSV or Parquet, JSON lines, entries of a JSON document.

A record that cannot be read comes as a ``BadRecord``, so that the reader decides whether to go on after it.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from simulator.errors import InputError
from simulator.input_files import as_json
from simulator.workload.quotes import csv_rows

_BETWEEN = re.compile(r"[\s,]*")
_LONGEST_ENTRY = 2**26  # characters
_CHUNK = 2**20  # characters of a JSON document read at a time
Opener = Callable[[], Iterator[str]]


class BadRecord(NamedTuple):
    """A place where no record could be read, and why."""

    problem: str


ReadRecord = tuple[int, dict[str, Any] | BadRecord]


class RecordSource(NamedTuple):
    """How to go through the records of a file, and what they are counted in: "line", "entry" or "row"."""

    unit: str
    entries: Callable[[], Iterator[ReadRecord]]
    header: Sequence[str] = ()  # the names of the columns, where the file says them before its rows
    begins: tuple[int, str] = (0, ",")  # the line of the header, and what separates cells
    few: Callable[[], Iterator[ReadRecord]] | None = (
        None  # the same, quicker where only the first are looked at
    )
    place: Callable[[int], str] | None = None  # names a record by its number, where they are of several files


def of(path: Path, lines: Opener) -> RecordSource:
    """Return the records of a file; ``lines`` opens it as text.

    Raises ``InputError`` for a file that cannot be opened or is of no such kind.
    """
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return RecordSource("row", lambda: _parquet(path, 16_384), few=lambda: _parquet(path, 16))
    header_line, first = _first(lines())
    if name.endswith((".jsonl", ".ndjson")):
        return RecordSource("line", lambda: _json_lines(lines()))
    if first.lstrip()[:1] in ("{", "["):
        is_lines = name.endswith((".json", ".log", ".txt")) or "." not in name
        if is_lines and _is_json_lines(lines()):
            return RecordSource("line", lambda: _json_lines(lines()))
        if not name.endswith((".csv", ".tsv")):
            return RecordSource("entry", lambda: _json_document(lines()))
    delimiter = _delimiter(first)
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    return RecordSource("line", lambda: _csv(path, lines(), delimiter), header, (header_line, delimiter))


def _first(lines: Iterator[str]) -> tuple[int, str]:
    return next(((i, line) for i, line in enumerate(lines, start=1) if line.strip()), (0, ""))


def _delimiter(header: str) -> str:
    return next((mark for mark in (",", "\t", ";", "|") if mark in header), ",")


def _is_json_lines(lines: Iterator[str]) -> bool:
    """Tell whether the first line is an object by itself and another begins below it."""
    below = (line.strip() for line in lines if line.strip())
    try:
        return isinstance(json.loads(next(below, "")), dict) and next(below, "").startswith("{")
    except (ValueError, RecursionError):
        return False


def _parse(text: str) -> dict[str, Any] | BadRecord:
    try:
        return _checked(json.loads(text))
    except json.JSONDecodeError as error:
        return BadRecord(f"not valid JSON ({error.msg}, column {error.colno}); expected one object a line")
    except (ValueError, RecursionError) as error:
        return BadRecord(f"not valid JSON ({error}); expected one object a line")


def _checked(value: Any) -> dict[str, Any] | BadRecord:
    if isinstance(value, dict):
        return value
    return BadRecord(f'{as_json(value)} found; expected an object like {{"column": value}}')


def _json_lines(lines: Iterator[str]) -> Iterator[ReadRecord]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _parse(line.strip())


def _json_document(lines: Iterator[str]) -> Iterator[ReadRecord]:
    """Yield the entries of an array, one by one as it is read, or an object as the only one."""
    decoder, chunks, number, at = json.JSONDecoder(), _chunks(lines), 0, 1
    text = next(chunks, "").lstrip()
    if not text.startswith("["):
        yield 1, _parse(text + "".join(chunks))
        return
    while True:
        found = _BETWEEN.match(text, at)
        at = found.end() if found else at
        if text.startswith("]", at):
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            more = "" if isinstance(error, RecursionError) or len(text) > _LONGEST_ENTRY else next(chunks, "")
            if not more:
                yield number + 1, BadRecord("not valid JSON; expected an array of objects")
                return
            text, at = text[at:] + more, 0
            while len(text) > 2 * len(more) and (
                next_one := next(chunks, "")
            ):  # a long entry is not begun often
                more += next_one
                text += next_one
            continue
        number += 1
        at = end
        yield number, _checked(value)


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for line in lines:
        for start in range(0, len(line), _CHUNK):
            held.append(line[start : start + _CHUNK])
            size += len(held[-1])
            if size >= _CHUNK:
                yield "".join(held)
                held, size = [], 0
    if held:
        yield "".join(held)


def _csv(path: Path, lines: Iterator[str], delimiter: str) -> Iterator[ReadRecord]:
    header: list[str] | None = None
    for line, cells in csv_rows(path, lines, delimiter):
        if isinstance(cells, Exception):
            yield line, BadRecord(f"not readable CSV: {cells}")
            continue
        if len(cells) < 2 and not "".join(cells).strip():
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
        elif len(cells) != len(header):
            yield line, BadRecord(f"{len(cells)} values found; expected {len(header)}")
        else:
            yield line, dict(zip(header, cells, strict=True))


def _parquet(path: Path, batch_rows: int) -> Iterator[ReadRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = chain.from_iterable(
            batch.to_pylist() for batch in pq.ParquetFile(path).iter_batches(batch_rows)
        )
        yield from enumerate(rows, start=1)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a readable Parquet file (damaged or cut short?): {reason}") from error
