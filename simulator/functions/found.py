"""What the functions return: a table, and what was found as attributes."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from simulator.results.frames import ArrowRows, as_html, as_pandas, as_polars

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from simulator.report.tables import Document

MOST_ROWS = 12  # shown in a notebook


class FoundTable(ArrowRows):
    """The answer of a study: ``table``, also as frames; ``print`` says it in words."""

    @property
    @abstractmethod
    def table(self) -> "pa.Table":
        """The rows of the answer."""

    @abstractmethod
    def document(self) -> "Document":
        """Return what the command prints."""

    def __str__(self) -> str:
        return str(self.document())

    @abstractmethod
    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        """Return a title, the rows of a small table with their head, and notes."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as a dict a row."""
        found: list[dict[str, Any]] = self.table.to_pylist()
        return found

    def to_pandas(self) -> "pd.DataFrame":
        """Return the table as a pandas frame; raises InputError without pandas."""
        return as_pandas(self.table)

    def to_polars(self) -> "pl.DataFrame":
        """Return the table as a polars frame; raises InputError without polars."""
        return as_polars(self.table)

    def __repr__(self) -> str:
        title, _, _ = self._shown()
        return f"<{type(self).__name__} {title}>"

    def _repr_html_(self) -> str:
        title, (head, *rows), notes = self._shown()
        left = len(rows) - MOST_ROWS
        more = [f"and {left:,} more rows, in .table"] if left > 0 else []
        return as_html(title, [head, *rows[:MOST_ROWS]], [*more, *notes])

    def _rows(self) -> "pa.Table":
        return self.table
