"""Folders of saved runs with one of their files damaged: bytes, values, columns or rows."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.results.sealed import unsealed
from tests.format_faults import changed
from tests.structured_faults import altered


def damage(folder: Path, source: Path, rng: random.Random) -> str:
    """Make ``folder`` a copy of a saved run and damage one file; return what was done."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    path = rng.choice(sorted(path for path in folder.iterdir() if path.suffix in (".json", ".parquet")))
    kind = rng.randrange(12)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.write_bytes(changed(path.read_bytes(), rng))
    elif kind == 2:
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    elif path.suffix == ".json":
        path.write_bytes(altered(path.read_bytes(), "x.json", rng))
    else:
        return f"{path.name}: {_table(path, rng)}"
    return f"{path.name}: {kind}"


def _table(path: Path, rng: random.Random) -> str:
    """Change one column or the rows of a table."""
    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    name = table.column_names[at]
    kind = rng.randrange(9)
    if kind == 0:
        table = table.drop_columns([name])
    elif kind == 1:
        table = table.slice(0, rng.randrange(table.num_rows + 1))
    elif kind == 2:
        rows = np.random.default_rng(rng.randrange(1000)).permutation(table.num_rows)
        table = table.take(pa.array(rows))
    elif kind == 3:
        table = pa.concat_tables([table, table.slice(0, rng.randrange(1, 4))])
    elif kind == 4:
        column = pa.array([rng.choice(("x", None, "\x1b[31m", "1"))] * table.num_rows, pa.string())
        table = table.set_column(at, name, column)
    elif kind == 5:
        table = table.set_column(at, name, pa.nulls(table.num_rows, table.schema.field(at).type))
    elif kind == 6:
        values = [rng.choice((float("nan"), -1.0, 1e300, float("inf"), 0.5))] * table.num_rows
        table = table.set_column(at, name, pa.array(values, pa.float64()))
    else:
        values = table[name].to_pylist()
        if values and isinstance(values[0], int | float) and not isinstance(values[0], bool):
            row = rng.randrange(len(values))
            real = isinstance(values[row], float)
            odd = (
                (float("nan"), float("inf"), -1.0, 1e300, None)
                if real
                else (-1, 0, 2**31 - 1, -(2**31), None)
            )
            values[row] = rng.choice(odd)
            table = table.set_column(at, name, pa.array(values, table.schema.field(at).type))
        else:
            table = table.rename_columns(
                [f"{each} " if each == name else each for each in table.column_names]
            )
    pq.write_table(table, path)
    return f"{name} {kind}"


def unseal(folder: Path) -> None:
    """Take the digests out of a saved run, as a version before there were any has saved it."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(unsealed(json.loads(path.read_text()))))
