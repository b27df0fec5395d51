"""Where bad rows are skipped, those that are read and those that are counted as skipped are all rows of the file."""

import csv
import io
import random
import re

import pytest

from simulator.errors import InputError
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs
from tests.format_faults import FILES, SAMPLES
from tests.structured_faults import altered

CASES = 60
HOW = ReadAs(skip_bad=True, sort=True)


def rows_of(data, name):
    """Count the rows by themselves: lines that are not blank, without the header of a CSV file."""
    text = data.decode("utf-8", "surrogatepass")
    if name.endswith(".csv"):
        return sum(any(cell.strip() for cell in row) for row in csv.reader(io.StringIO(text))) - 1
    return sum(bool(line.strip()) for line in re.split("[\r\n]", text))


def read_and_skipped(path):
    trace = Trace(path, HOW)
    columns, _ = trace.read()
    return len(columns), len(trace.skipped or ())


def a_request_a_row(name):
    try:
        return read_and_skipped(SAMPLES / name) == (rows_of((SAMPLES / name).read_bytes(), name), 0)
    except InputError:
        return False


ROWS = [name for name in FILES if not name.endswith(".json") and a_request_a_row(name)]


def test_most_formats_have_a_request_a_row():
    assert len(ROWS) >= 12


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_read_or_counted(name, tmp_path):
    rng = random.Random(name)
    data, compared = (SAMPLES / name).read_bytes(), 0
    for _ in range(CASES):
        path = tmp_path / name
        path.write_bytes(altered(data, name, rng))
        try:
            read, skipped = read_and_skipped(path)
            rows = rows_of(path.read_bytes(), name)
        except (InputError, UnicodeDecodeError, csv.Error):
            continue
        assert read + skipped == rows, path.read_bytes()[:2000]
        compared += 1
    assert compared >= CASES // 3
