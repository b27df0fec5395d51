"""A CSV file of requests with the time of their first and last tokens, as scripts of one's own write them.

The columns are those of ``requests.csv`` of ``servesim export --to csv``; ``isl`` and ``osl`` are read too, as in the
benchmarks of LLMServingSim (https://github.com/casys-kaist/LLMServingSim). Seconds on any clock.
"""

import csv
from pathlib import Path

from simulator.errors import InputError
from simulator.input_files import check_regular
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest, ServedRun, served_run
from simulator.results.imports._values import seconds, tokens

TOOL = "requests (CSV)"
_COLUMNS = {
    "arrival_s": ("arrival_s",),
    "prompt_tokens": ("prompt_tokens", "isl"),
    "output_tokens": ("delivered_tokens", "output_tokens", "osl"),
    "first_token_s": ("first_token_s",),
    "last_token_s": ("last_token_s",),
}
_STATES = {state.name.lower(): state for state in RequestState}


def read_csv(path: Path) -> list[ServedRun]:
    """Return the only run; raises InputError naming the line and the column."""
    check_regular(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    names = {
        key: next((name for name in choices if name in header), None) for key, choices in _COLUMNS.items()
    }
    for key, name in names.items():
        if name is None and key != "prompt_tokens":
            raise InputError(
                f"{path}: no column {' or '.join(_COLUMNS[key])}; expected one, beside {_others(key)}"
            )
    if not rows:
        raise InputError(f"{path}: no requests; expected a row for each")
    return [served_run(path.name, TOOL, [_request(f"{path}, line {line}", row, names) for line, row in rows])]


def _others(key: str) -> str:
    return ", ".join(choices[0] for name, choices in _COLUMNS.items() if name != key)


def _request(where: str, row: dict[str, str], names: dict[str, str | None]) -> ServedRequest:
    cells: dict[str, float | None] = {}
    for key, name in names.items():
        cell = (row.get(name) or "").strip() if name is not None else ""
        try:
            cells[key] = seconds(float(cell), f"{where}: {name}", least=-1e15) if cell else None
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where}: {name} is {cell[:60]!r}; expected a number") from None
    arrival_s, first_s, last_s = cells["arrival_s"], cells["first_token_s"], cells["last_token_s"]
    if arrival_s is None:
        raise InputError(f"{where}: arrival_s is empty; expected a number of seconds")
    prompt, output = (
        None if cells[key] is None else tokens(cells[key], f"{where}: {names[key]}")
        for key in ("prompt_tokens", "output_tokens")
    )
    state = _state(row.get("state"), where)
    if first_s is None or last_s is None or not output:
        failed = RequestState.FAILED if state is RequestState.COMPLETED else state
        return ServedRequest(where, arrival_s, prompt, 0, state=failed)
    return ServedRequest(where, arrival_s, prompt, output, first_s=first_s, last_s=last_s, state=state)


def _state(name: str | None, where: str) -> RequestState:
    if name and name not in _STATES:
        raise InputError(f"{where}: state is {name[:60]!r}; expected one of {', '.join(_STATES)}")
    return _STATES[name] if name else RequestState.COMPLETED
