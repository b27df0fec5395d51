"""``workload.columns``: which columns, or nested keys, of any records hold what, as the user says it.

"arrival=ts:iso,prompt=usage.prompt_tokens,output=usage.completion_tokens" names a column for each thing; the arrival's
may end in its unit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from simulator.errors import InputError
from simulator.workload.formats import PlainColumns, RecordFormat, TraceFormat, TraceRow, servesim
from simulator.workload.values import UNITS_NS, get, is_date, is_empty, number, time_ns, whole

SHORT = {"arrival": "arrival_s", "prompt": "prompt_tokens", "output": "output_tokens", "session": "session_id",
         "think": "think_time_s", "patience": "patience_s"}  # fmt: skip
_UNITS = ("iso", *UNITS_NS)
_LABELS = ("session_id", "agent_id", "tenant")
_LISTS = ("hash_ids", "hash_runs")
_WHOLE = (
    "prompt_tokens",
    "output_tokens",
    "new_tokens",
    "prefix_tokens",
    "prefix_id",
    "priority",
    "thinking_tokens",
)


def parse(given: str) -> dict[str, tuple[str, str | None]]:
    """Return {own column: (their column, unit)}; raise ``InputError`` naming ``workload.columns``."""
    own = servesim.FORMAT.names
    found: dict[str, tuple[str, str | None]] = {}
    for part in given.split(","):
        name, equals, column = (each.strip() for each in part.partition("="))
        name = SHORT.get(name, name)
        if not equals or not column or name not in own:
            expected = ", ".join([*SHORT, *sorted(own - set(SHORT.values()))])
            raise InputError(
                f"workload.columns: {part.strip()!r} found; expected NAME=COLUMN with a name out of {expected}"
            )
        if name in found:
            raise InputError(f"workload.columns: {name} is given twice; expected once")
        stem, colon, unit = column.rpartition(":")
        is_time = name == "arrival_s" or name.endswith("_s")
        found[name] = (stem, unit) if colon and stem and unit in _UNITS and is_time else (column, None)
    for name in ("prompt_tokens", "output_tokens"):
        if name not in found:
            raise InputError(
                f"workload.columns: no {name} in {given!r}; expected prompt=COLUMN,output=COLUMN"
            )
    return found


def record_format(given: str, sorts: bool) -> RecordFormat:
    """Return the format of records that ``workload.columns`` describes."""
    columns = parse(given)

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        row: TraceRow = {}
        for name, (column, unit) in columns.items():
            value = get(record, column)
            if name == "arrival_s":
                if unit == "iso" or is_date(_in_unit(value, unit)):
                    row["time_ns"] = time_ns(value, column, unit)
                elif not is_empty(value):
                    row[name] = number(value, column) * UNITS_NS[unit or "s"] / 1e9
            elif is_empty(value):
                continue
            elif name in _LISTS:
                row[name] = value
            elif name in _LABELS:
                row[name] = str(value)
            elif name in _WHOLE:
                row[name] = whole(value, column)
            else:
                row[name] = number(value, column) * UNITS_NS[unit or "s"] / 1e9
        for name in ("prompt_tokens", "output_tokens"):
            if name not in row:
                row[name] = whole(None, columns[name][0])
        if "arrival_s" in columns and "think_time_s" not in row and not {"arrival_s", "time_ns"} & row.keys():
            time_ns(None, columns["arrival_s"][0])
        yield row

    def plain(header: Sequence[str]) -> PlainColumns | None:
        if columns.keys() != {"arrival_s", "prompt_tokens", "output_tokens"}:
            return None
        (arrival, unit), (prompt, _), (output, _) = (
            columns[name] for name in ("arrival_s", "prompt_tokens", "output_tokens")
        )
        return PlainColumns(arrival, prompt, output, unit)

    return RecordFormat("columns", lambda _: True, lambda: rows, _names(set(columns)), sorts, plain=plain)


def _in_unit(value: object, unit: str | None) -> object:
    """Return a number as the date that it is in its unit, where it is one."""
    if unit is None or unit == "iso" or is_empty(value):
        return value
    try:
        count = time_ns(value, "", unit)
    except ValueError:
        return value
    return count / 1e9


def _names(given: set[str]) -> TraceFormat:
    if "arrival_s" in given:
        return servesim.RECORDS
    if "session_id" in given:
        return replace(servesim.RECORDS, arrival_s=None)
    return replace(servesim.RECORDS, arrival_s=None, session_id=None)
