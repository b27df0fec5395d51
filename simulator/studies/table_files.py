"""The table of a study as files: Parquet for programs, and the same as CSV for spreadsheets."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.report.text import spreadsheet_cell
from simulator.results.folders import whole

if TYPE_CHECKING:
    import pyarrow as pa


def write_table(rows: "pa.Table", out: Path, name: str) -> list[str]:
    """Write a table into a folder, each file whole or not at all; return their names."""
    import pyarrow.parquet as pq

    files = [f"{name}.parquet", f"{name}.csv"]
    with whole(out / files[0]) as part:
        pq.write_table(rows, part)
    with whole(out / files[1]) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(spreadsheet_cell, rows.column_names))
        columns = (map(spreadsheet_cell, rows[key].to_pylist()) for key in rows.column_names)
        writer.writerows(zip(*columns, strict=True))
    return files
