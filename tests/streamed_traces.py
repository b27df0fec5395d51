"""Traces of every kind of file, read in small batches."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.workload import Workload, WorkloadSpec, arrow_tables, build, csv_file, parquet_file, rows_file

KINDS = ["t.parquet", "t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz"]
ROWS = 1000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of some tens of rows, and no file that is too small for pyarrow."""
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", 64)
    monkeypatch.setattr(rows_file, "_BATCH_ROWS", 64)
    monkeypatch.setattr(csv_file, "SMALL_BYTES", 100)
    monkeypatch.setattr(arrow_tables, "_BLOCK_BYTES", 1024)


def columns(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "arrival_s": np.round(np.cumsum(rng.exponential(1, rows)), 3).tolist(),
        "prompt_tokens": rng.integers(10, 2000, rows).tolist(),
        "output_tokens": rng.integers(1, 500, rows).tolist(),
        "priority": [None if x < 0 else x for x in rng.integers(-1, 3, rows).tolist()],
        "patience_s": [None if x < 2 else x for x in np.round(rng.exponential(9, rows), 2).tolist()],
        "tenant": [f"t{x}" for x in rng.integers(0, 9, rows).tolist()],
        "prefix_id": [None if x > 4 else x for x in rng.integers(0, 7, rows).tolist()],
    }


def with_prefixes(table):
    return {**table, "prefix_tokens": [None if x is None else 10 for x in table["prefix_id"]]}


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(pa.table(table), path, row_group_size=300)
        return path
    if ".csv" in path.name:
        cells = zip(*table.values(), strict=True)
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in cells]
        text = "\n".join([",".join(table), *lines, ""])
    else:
        rows = zip(*table.values(), strict=True)
        text = "\n".join(json.dumps(dict(zip(table, row, strict=True))) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def same(one: Workload, other: Workload) -> None:
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "priority", "leave_s", "tenant"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert one.segments == other.segments


def make(path, **keys):
    return build(WorkloadSpec(trace=str(path), **keys), 0)
