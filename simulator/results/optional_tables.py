"""The tables of a result that are only there where something is in them."""

from typing import TYPE_CHECKING

from simulator.arrays import Columns
from simulator.results.arrow import scaling_table, transfers_table, work_table

if TYPE_CHECKING:
    import pyarrow as pa


class OptionalTables:
    """KV transfers, replicas that came and went, and what was in steps."""

    def __init__(self, transfers: Columns | None, scaling: Columns | None, work: Columns | None) -> None:
        """Columns as they are made or read; None, or none in them, where there is nothing."""
        self._transfers = transfers if transfers is not None and len(transfers["bytes"]) else None
        self._scaling = scaling if scaling is not None and len(scaling.get("replica", ())) else None
        self._work = work

    def transfers(self) -> "pa.Table | None":
        """Return one row a KV cache that went from replica to replica; None if none did."""
        self._require("requests")
        return None if self._transfers is None else transfers_table(self._transfers)

    def scaling(self) -> "pa.Table | None":
        """Return one row a replica of a pool that is scaled: its times in seconds (null: never); None if none is."""
        self._require("requests")
        return None if self._scaling is None else scaling_table(self._scaling)

    def work(self) -> "pa.Table | None":
        """Return one row a chunk of a prompt, and one a preemption, by replica and step.

        None below the trace level "steps", and for runs that were saved before there was such a table.
        """
        return None if self._work is None else work_table(self._work)

    @property
    def scaling_columns(self) -> Columns | None:
        """What ``scaling`` is made from, at any trace level."""
        return self._scaling

    def _require(self, table: str) -> None:
        raise NotImplementedError
