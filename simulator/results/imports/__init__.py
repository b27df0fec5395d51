"""Result files of load tests of real servers, one format a file, found by what is in them.

A file here is a format: ``TOOL``, its name in a sentence; ``recognises(values)``, whether the JSON values of a file
are of it; ``read(values, path)``, its runs. A format that is no JSON has ``columns`` instead, see ``requests_csv``.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from simulator.errors import InputError
from simulator.results.imports._folder import folder_run
from simulator.results.imports._served import ServedRequest, ServedRun, TokenTimes
from simulator.results.imports._values import documents

__all__ = ["ServedRequest", "ServedRun", "TokenTimes", "formats", "read_runs", "tool_of"]


def formats() -> dict[str, ModuleType]:
    """Return the module of each format by name."""
    names = sorted(file.name for file in iter_modules(__path__) if not file.name.startswith("_"))
    return {name: import_module(f"{__name__}.{name}") for name in names}


def read_runs(path: Path) -> list[ServedRun]:
    """Return the runs in a result file, at least one, whichever tool wrote it, or that of a folder of a real server.

    Raises InputError, naming the file and the field, for a file of no known format, one that has sums alone, and one
    with a value that cannot be.
    """
    if path.is_dir():
        return [folder_run(path)]
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a result file of a load test")
    known = formats()
    if path.suffix.lower() == ".csv":
        runs: list[ServedRun] = known["requests_csv"].read_csv(path)
        return runs
    values = documents(path)
    file = _format_of(values)
    if file is not None:
        runs = file.read(values, path)
        if not runs:
            raise InputError(f"{path}: no run in this file of {file.TOOL}; expected at least one")
        return runs
    tools = ", ".join(file.TOOL for file in known.values())
    raise InputError(f"{path}: no known result file; expected one of {tools}")


def tool_of(path: Path) -> str | None:
    """Return which tool wrote a JSON file of results; None where it is none that is known."""
    try:
        file = _format_of(documents(path))
    except InputError:
        return None
    return None if file is None else str(file.TOOL)


def _format_of(values: Sequence[Any]) -> ModuleType | None:
    known = formats().values()
    return next((file for file in known if hasattr(file, "recognises") and file.recognises(values)), None)
