"""Rows of CSV text, and quotes in it that are never closed: such a one takes all rows below it for one cell."""

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from simulator.errors import InputError


def csv_rows(
    path: Path, lines: Iterator[str], delimiter: str = ","
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield (line number, cells) of every row, blank ones included; the number is that of its last line.

    A row that cannot be read comes as an error. Raises InputError, naming the line where it opens, for a quote that
    the file does not close.
    """
    kept: list[str] = []  # lines of the row that is being read

    def noted() -> Iterator[str]:
        for line in lines:
            kept.append(line)
            yield line

    rows = csv.reader(noted(), delimiter=delimiter)
    before = 0
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            _check(path, kept, before + 1, delimiter)
            before = rows.line_num
            kept.clear()
            yield before, error
            continue
        if cells is None:
            return
        if kept and '"' in kept[-1] + kept[0] and (len(kept) > 1 or kept[0].count('"') % 2):
            _check(path, kept, before + 1, delimiter)
        before = rows.line_num
        kept.clear()
        yield before, cells


def _check(path: Path, kept: list[str], line: int, delimiter: str) -> None:
    """Raise InputError if the lines, which begin with a row, end within quotes."""
    text = "".join(kept)
    try:
        for _ in csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        # a value may also be long because it is
        if "unexpected end" in str(error) or ("field larger" in str(error) and text.count('"') % 2):
            raise InputError(
                f"{path}: line {line}: a quote opens that is not closed; expected another one behind the value"
            ) from error


def check_quotes(path: Path, quotes: int, lines: Iterator[str]) -> None:
    """Raise InputError as ``csv_rows`` does; ``quotes`` are all of the file, and if they pair up nothing is read."""
    if quotes % 2:
        for _ in csv_rows(path, lines):
            pass
