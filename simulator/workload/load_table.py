"""Reading a load over time from a table: a shipped one, or a file of the user's."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.workload import library, reader, servegen_rates
from simulator.workload.checks import LARGEST_FACTOR, LATEST_S, Where, refuse_unless
from simulator.workload.containers import Wanted
from simulator.workload.parquet_file import ParquetFile
from simulator.workload.recognise import open_table

_TIME = "time_s"
_VALUES = ("rate_rps", "factor")


@dataclass(frozen=True)
class LoadTable:
    """What a table says of a load: values that hold from their times on."""

    time_s: Floats  # strictly ascending, >= 0
    factor: Floats  # >= 0, not all 0
    are_rates: bool  # in requests/s
    period_s: float | None  # after which it repeats itself, where the table knows


def read(name: str, base_dir: Path | None) -> LoadTable:
    """Return the shipped load of this name, or that of the file at this path.

    Raises ``InputError`` naming the file, and the line or row, for anything that is not right.
    """
    shipped = library.shipped_loads()
    path = shipped.get(name) or library.find_table("workload.load", name, list(shipped), base_dir)
    if servegen_rates.is_one(path):
        time_s, factor = servegen_rates.read(path)
        return _checked(path, time_s, factor, "rate_rps", lambda i: f"{path}: line {i + 1}")
    table = open_table(path, "load table")
    values = _VALUES[reader.choose(table, [(_TIME, each) for each in _VALUES])]
    found = [batch.numbers for batch in reader.batches(table, Wanted((_TIME, values)))]
    if not found:
        raise InputError(f"{path}: the load table is empty; expected at least one row of numbers")
    time_s, factor = (np.concatenate([numbers[key] for numbers in found]) for key in (_TIME, values))
    found_load = _checked(path, time_s, factor, values, table.where)
    period = table.note("period_s") if isinstance(table, ParquetFile) else None
    return replace(found_load, period_s=None if period is None else float(period))


def _checked(path: Path, time_s: Floats, factor: Floats, values: str, where: Where) -> LoadTable:
    with np.errstate(invalid="ignore"):
        good_time, good = (time_s >= 0) & (time_s <= LATEST_S), (factor >= 0) & (factor <= LARGEST_FACTOR)
    refuse_unless(good_time, time_s, _TIME, f"a number of seconds from 0 to {LATEST_S:g}", where)
    refuse_unless(good, factor, values, f"a number from 0 to {LARGEST_FACTOR:g}", where)
    later = np.concatenate([[True], time_s[1:] > time_s[:-1]])
    refuse_unless(later, time_s, _TIME, "a time after that of the row before", where)
    if not factor.any():
        raise InputError(f"{path}: {values} is 0 in every row; expected one above 0")
    return LoadTable(time_s, factor, values == "rate_rps", None)
