"""A run in other formats, one file each: ``export(result, path, **options)`` in a file here is a new one.

Options of a format are the keyword-only parameters of its function; ``SUFFIX`` is how its files end, if in anything.
"""

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from simulator.errors import InputError
from simulator.results.result import Result
from simulator.scenario.discover import nearest


def exports() -> list[str]:
    """Return the names of all formats, without importing any."""
    return sorted(file.name for file in iter_modules(__path__) if not file.name.startswith("_"))


def export(result: Result, name: str, path: Path, options: dict[str, Any] | None = None) -> None:
    """Write ``result`` to ``path`` in the format ``name``.

    Raises InputError for a format or an option that there is not, and for a result whose trace level does not hold
    what the format needs; OSError where the disk refuses.
    """
    file = _file(name)
    function = getattr(file, "export", None)
    if not callable(function):
        raise InputError(f"{file.__file__}: no function export(result, path)")
    parameters = inspect.signature(function).parameters.values()
    accepted = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for option in options or {}:
        if option not in accepted:
            expected = f"expected one of {', '.join(accepted)}" if accepted else f"{name} has no options"
            raise InputError(
                f"--set {option}: {name} has no such option; {nearest(option, accepted)}{expected}"
            )
    function(result, path, **(options or {}))


def beside(folder: Path, name: str) -> Path:
    """Return what is written by default: beside the run's folder, with the format's name and its suffix."""
    return folder.with_name(f"{folder.resolve().name}.{name}{getattr(_file(name), 'SUFFIX', '')}")


def _file(name: str) -> ModuleType:
    known = exports()
    if name not in known:
        raise InputError(f"--to {name}: no export; {nearest(name, known)}expected one of {', '.join(known)}")
    return import_module(f"{__name__}.{name}")
