"""What the containers that are read with pyarrow share: columns of a record batch as numpy arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.workload.block_ids import BlockIds
from simulator.workload.checks import Where
from simulator.workload.containers import Batch, Label, Wanted, recoded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

_BLOCK_BYTES = 2**20


def batch(found: "pa.RecordBatch", first_row: int, wanted: Wanted, where: Where, names: BlockIds) -> Batch:
    """Return the wanted columns of a record batch; ``where`` names rows of the whole table.

    ``names`` numbers entries of lists that an int64 does not hold, and texts.
    """

    def here(row: int) -> str:
        return where(first_row + row)

    return Batch(
        first_row,
        found.num_rows,
        {name: _numbers(found.column(name), name, True, here) for name in wanted.required}
        | {name: _numbers(found.column(name), name, False, here) for name in wanted.optional},
        {name: _lists(found.column(name), name, here, names) for name in wanted.lists},
        {name: _labels(found.column(name)) for name in wanted.labels},
    )


def csv_stream(
    path: Path,
    header: Sequence[str],
    types: Mapping[str, "pa.DataType"],
    header_line: int,
    delimiter: str = ",",
) -> "pa_csv.CSVStreamingReader":
    """Open a CSV file, plain or gzipped, block by block; only the columns that have a type are read."""
    import pyarrow.csv as pa_csv

    return pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(
            column_names=list(header), skip_rows=header_line, block_size=_BLOCK_BYTES, use_threads=False
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict(types), include_columns=list(types), null_values=[""]
        ),
    )


def _numbers(column: "pa.Array", name: str, required: bool, where: Where) -> Floats:
    import pyarrow as pa

    if column.null_count or pa.types.is_null(column.type):
        if column.null_count and required:
            raise InputError(f"{where(_first_null(column))}: {name} is empty; expected a number")
        column = column.cast(pa.float64(), safe=False).fill_null(np.nan)
    # DLPack, since pyarrow's own conversion imports pandas where that is installed
    numbers: Floats = np.from_dlpack(column).astype(np.float64)
    return numbers


def _lists(column: "pa.Array", name: str, where: Where, names: BlockIds) -> tuple[Ints, Ints]:
    import pyarrow as pa

    if column.null_count:
        raise InputError(f"{where(_first_null(column))}: {name} is empty; expected a list of whole numbers")
    offsets = np.from_dlpack(column.offsets).astype(np.int64)
    first = int(offsets[0])
    values, offsets = column.values.slice(first, int(offsets[-1]) - first), offsets - first
    if values.null_count:
        row = int(np.searchsorted(offsets, _first_null(values), side="right")) - 1
        raise InputError(f"{where(row)}: {name} lacks an entry; expected a list of whole numbers")
    if pa.types.is_uint64(values.type):
        return names.of_array(np.from_dlpack(values).astype(np.uint64)), offsets
    if not pa.types.is_integer(values.type):
        texts = values.to_pylist()
        numbers = names.of(texts)
        if numbers is None:
            empty = next(i for i, each in enumerate(texts) if not each.strip())
            row = int(np.searchsorted(offsets, empty, side="right")) - 1
            raise InputError(f"{where(row)}: {name} holds an empty text; expected ids of blocks")
        return np.array(numbers, np.int64), offsets
    return np.from_dlpack(values.cast(pa.int64())).astype(np.int64), offsets


def _labels(column: "pa.Array") -> tuple[Ints, list[Label]]:
    import pyarrow as pa

    if pa.types.is_null(column.type):
        return np.full(len(column), -1), []
    coded = column.dictionary_encode()
    codes = np.from_dlpack(coded.indices.fill_null(-1)).astype(np.int64)
    return recoded(codes, [label if label != "" else None for label in coded.dictionary.to_pylist()])


def _first_null(column: "pa.Array") -> int:
    return int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
