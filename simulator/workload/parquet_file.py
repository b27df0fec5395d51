"""Tables in Parquet files."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulator.errors import InputError
from simulator.workload.arrow_tables import batch
from simulator.workload.block_ids import BlockIds
from simulator.workload.containers import BATCH_ROWS, Batch, Container, Wanted

if TYPE_CHECKING:
    import pyarrow as pa

_BUFFER_BYTES = 2**20


class ParquetFile(Container):
    """A Parquet file."""

    kind = "Parquet"

    def where(self, row: int) -> str:
        """As the base class."""
        return f"{self.path}: row {row + 1}"

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As the base class."""
        import pyarrow as pa

        self._check_types(wanted)
        names = [*wanted.required, *wanted.optional, *wanted.lists, *wanted.labels]
        row, block_ids = 0, BlockIds()
        try:
            for found in self._file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                if found.num_rows:
                    yield batch(found, row, wanted, self.where, block_ids)
                row += found.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error

    def note(self, key: str) -> str | None:
        """Return an entry of the schema's metadata."""
        found = (self._file.schema_arrow.metadata or {}).get(key.encode())
        return None if found is None else found.decode()

    def _header(self) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # a buffer for each column, instead of all of a row group at once
            self._file = pq.ParquetFile(
                self.path, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER_BYTES
            )
        except (pa.ArrowException, OSError) as error:
            raise self.unreadable(error) from error
        self.rows = self._file.metadata.num_rows
        return list(self._file.schema_arrow.names)

    def _check_types(self, wanted: Wanted) -> None:
        import pyarrow.types as types

        schema = self._file.schema_arrow
        for name in (*wanted.required, *wanted.optional):
            kind = schema.field(name).type
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)):
                raise InputError(f"{self.path}: column {name} holds {kind}; expected numbers")
        for name in wanted.lists:
            kind = schema.field(name).type
            is_list = types.is_list(kind) or types.is_large_list(kind)
            if not (is_list and (types.is_integer(kind.value_type) or _is_text(kind.value_type))):
                raise InputError(f"{self.path}: column {name} holds {kind}; expected lists of whole numbers")
        for name in wanted.labels:
            kind = schema.field(name).type
            if not (_is_text(kind) or types.is_integer(kind) or types.is_null(kind)):
                raise InputError(f"{self.path}: column {name} holds {kind}; expected whole numbers or texts")


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))
