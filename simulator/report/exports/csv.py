"""Tables as CSV files (RFC 4180) in a folder: ``requests.csv``, and ``tokens.csv`` where the run kept its tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.report.text import spreadsheet_cell
from simulator.results.result import Result
from simulator.results.trace_level import kept_tables

if TYPE_CHECKING:
    import pyarrow as pa


def export(result: Result, path: Path) -> None:
    """Write one row a request and one row a token, under the names of the columns; empty: it never happened.

    Raises InputError for a result of the trace level "summary".
    """
    requests = result.requests()
    path.mkdir(parents=True, exist_ok=True)
    _write(path / "requests.csv", iter([_plain(requests)]))
    if "tokens" in kept_tables(result.trace_level):
        _write(path / "tokens.csv", result.token_tables())


def _plain(table: "pa.Table") -> "pa.Table":
    """Words instead of dictionaries, which a CSV file cannot hold."""
    import pyarrow as pa

    fields = [
        (each.name, pa.string()) if pa.types.is_dictionary(each.type) else (each.name, each.type)
        for each in table.schema
    ]
    words = table.cast(pa.schema(fields))
    for i, each in enumerate(words.schema):
        if pa.types.is_string(each.type):
            safe = pa.array([spreadsheet_cell(text) for text in words.column(i).to_pylist()], pa.string())
            words = words.set_column(i, each, safe)
    return words


def _write(path: Path, tables: "Iterator[pa.Table]") -> None:
    from pyarrow import csv

    first = next(tables)
    options = csv.WriteOptions(quoting_style="needed", eol="\r\n")
    with csv.CSVWriter(path, first.schema, write_options=options) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
