"""What a result is in a notebook: a line, a small table, and its tables as frames of pandas and polars."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.metrics import UserModel
from simulator.results.frames import ArrowRows, as_html, as_pandas, as_polars
from simulator.results.vocabulary import vocabulary

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

TABLES = ("requests", "tokens", "steps", "transfers", "scaling", "work")


class ShownResult(ArrowRows):
    """A result as a notebook shows it. Where tools ask for one table, it is that of the requests."""

    manifest: dict[str, Any]

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return every metric."""

    @property
    @abstractmethod
    def user(self) -> UserModel:
        """The scenario's user."""

    @property
    @abstractmethod
    def partial(self) -> bool:
        """Whether the run was cut off."""

    def to_pandas(self, table: str = "requests") -> "pd.DataFrame":
        """Return a table as a pandas frame: requests, tokens, steps, transfers, scaling or work.

        Raises InputError for another name, for a table that this run has not, and without pandas.
        """
        return as_pandas(self._table(table))

    def to_polars(self, table: str = "requests") -> "pl.DataFrame":
        """Return a table as a polars frame; as ``to_pandas``."""
        return as_polars(self._table(table))

    def _rows(self) -> "pa.Table":
        return self._table("requests")

    def _table(self, name: str) -> "pa.Table":
        if name not in TABLES:
            raise InputError(f"table: expected one of {', '.join(TABLES)}, got {name!r}")
        table = getattr(self, name)()
        if table is None:
            raise InputError(f"table: this run has no {name}")
        return table

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.manifest['scenario']['name']!r}: {', '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        rows = [["", "", ""]]
        found = self.summary()
        for measure in vocabulary().values():
            value = measure.of(found) if "ranking" in measure.shown else None
            if value is not None:
                rows.append([measure.label, f"{value:,.4g}", measure.unit])
        title = f"{self.manifest['scenario']['name']}: {', '.join(self._facts())}"
        return as_html(title, rows, [f"user model: {self.user.described}"])

    def _facts(self) -> list[str]:
        """Say what was simulated, or measured, without looking at a token."""
        manifest = self.manifest
        facts = []
        count = manifest["workload"].get("requests")
        if count is not None:
            facts.append(f"{count:,} request{'' if count == 1 else 's'}")
        scenario: Mapping[str, Any] = manifest["scenario"]
        if "measured" in manifest:
            facts.append(f"measured with {manifest['measured']['tool']}")
        else:
            pools = manifest["pools"]
            facts.append(
                " and ".join(f"{each['replicas']} x {each['gpu']} ({each['scheduling']})" for each in pools)
            )
            facts.append(str(scenario["hardware"]["model"]))
        facts.append(f"{manifest['end_of_run_s']:,.6g} s")
        return [*facts, *(["cut off before its end"] if self.partial else [])]
