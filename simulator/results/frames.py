"""Tables as other tools take them: pandas, polars, anything that speaks Arrow, and the HTML that a notebook shows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.errors import not_installed

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


def as_pandas(table: "pa.Table") -> "pd.DataFrame":
    """Return an Arrow table as a pandas frame; raises InputError if pandas is not installed."""
    try:
        import pandas  # noqa: F401  # which pyarrow looks for
    except ImportError as error:
        raise not_installed("to_pandas: pandas", "pandas") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def as_polars(table: "pa.Table") -> "pl.DataFrame":
    """Return an Arrow table as a polars frame; raises InputError if polars is not installed."""
    try:
        import polars
    except ImportError as error:
        raise not_installed("to_polars: polars", "polars") from error
    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)
    return frame


def as_html(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Return a small HTML table, the first row its head, with a title and notes; all text is escaped."""
    from html import escape

    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"] if any(head) else []
    lines += [
        f"<tr><th style='text-align:left'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for row in body
    ]
    said = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return f"<div><strong>{escape(title)}</strong><table>{''.join(lines)}</table>{said}</div>"


class ArrowRows(ABC):
    """Something with a table: it gives it to pandas and polars, and to whatever asks for Arrow."""

    @abstractmethod
    def _rows(self) -> "pa.Table":
        """Return the table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        return self._rows().__arrow_c_stream__(requested_schema)

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return self._rows().__dataframe__(nan_as_null, allow_copy)
