"""Columns as Arrow tables, and in Parquet files."""

from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns
from simulator.replica.request import FIELDS, RequestState

if TYPE_CHECKING:
    import pyarrow as pa


KINDS = ("prefill", "preempted")  # of rows of the table of work, by their codes
STATES = [state.name.lower() for state in RequestState]
ROW_GROUP = 1 << 20  # tokens of whole requests that are written together, at least
_OPTIONAL_TIMES = ("read_s", "first_scheduled_s", "first_token_s", "last_token_s")
# No dictionaries, no statistics: for these columns they cost time and save nothing. LZ4 would take two thirds of
# zstd's time and 40 % more room.
_HOW = {"compression": "zstd", "write_statistics": False, "write_page_checksum": True}


def arrow_table(columns: Columns) -> "pa.Table":
    """Return columns of numbers as a table, without copying them."""
    import pyarrow as pa

    return pa.table({name: _arrow(column) for name, column in columns.items()})


def requests_table(columns: Columns) -> "pa.Table":
    """Return the table of requests: states by name, and null for what never happened."""
    import pyarrow as pa

    arrays = {name: _arrow(column) for name, column in columns.items()}
    arrays["state"] = pa.DictionaryArray.from_arrays(arrays["state"], _strings(STATES))
    floats = [name for name, field in FIELDS.items() if field.is_float and name in columns]
    for name in (*(each for each in _OPTIONAL_TIMES if each in columns), *floats):
        arrays[name] = _arrow(columns[name], nan_is_null=True)
    return pa.table(arrays)


def transfers_table(columns: Columns) -> "pa.Table":
    """Return the table of transfers, which has words and truth values beside numbers."""
    import pyarrow as pa

    arrays = {
        name: _arrow(column, nan_is_null=column.dtype.kind == "f")
        for name, column in columns.items()
        if column.dtype.kind not in "Ub"
    }
    arrived = columns["arrived"]
    bits = pa.py_buffer(np.packbits(arrived, bitorder="little"))
    arrays["kind"] = _strings(columns["kind"].tolist())
    arrays["arrived"] = pa.Array.from_buffers(pa.bool_(), len(arrived), [None, bits])
    return pa.table({name: arrays[name] for name in columns})


def scaling_table(columns: Columns) -> "pa.Table":
    """Return the table of replicas that came and went: null for times that have not come."""
    import pyarrow as pa

    return pa.table(
        {name: _arrow(column, nan_is_null=name.endswith("_s")) for name, column in columns.items()}
    )


def work_table(columns: Columns) -> "pa.Table":
    """Return the table of what was in steps, its kinds by name."""
    import pyarrow as pa

    arrays = {name: _arrow(column) for name, column in columns.items()}
    arrays["kind"] = pa.DictionaryArray.from_arrays(arrays["kind"], _strings(list(KINDS)))
    return pa.table(arrays)


def write(path: Path, contents: "pa.Table") -> None:
    """Write a table; raises OSError where the disk refuses."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = [field.name for field in contents.schema if pa.types.is_dictionary(field.type)] or False
    pq.write_table(contents, path, use_dictionary=words, **_HOW)


def write_pieces(path: Path, pieces: Iterable[Columns], stop: Event) -> None:
    """Write pieces of a table one after another, unless told to stop; raises OSError where the disk refuses."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, ready, rows = None, [], 0
    try:
        for piece in pieces:
            if stop.is_set():
                return
            ready.append(arrow_table(piece))
            rows += len(ready[-1])
            if writer is None:
                writer = pq.ParquetWriter(path, ready[0].schema, use_dictionary=False, **_HOW)
            if rows >= ROW_GROUP:
                writer.write_table(pa.concat_tables(ready), row_group_size=rows)
                ready, rows = [], 0
        if writer is not None and rows:
            writer.write_table(pa.concat_tables(ready), row_group_size=rows)
    finally:
        if writer is not None:
            writer.close()


def _arrow(column: NDArray[Any], nan_is_null: bool = False) -> "pa.Array":
    """Wrap a column's memory. (``pa.array`` would first import pandas, where it is installed.)"""
    import pyarrow as pa

    column = np.ascontiguousarray(column)
    missing = None
    if nan_is_null:
        missing = pa.py_buffer(np.packbits(~np.isnan(column), bitorder="little"))
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(column.dtype), len(column), [missing, pa.py_buffer(column)]
    )


def _strings(words: list[str]) -> "pa.Array":
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, words)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer("".join(words).encode("ascii"))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)
