"""What trackers of experiments keep of a run: parameters, numbers, and its files."""

from collections.abc import Iterator
from typing import Any

from simulator.errors import InputError
from simulator.results.result import Result
from simulator.results.vocabulary import numbers


def parameters(result: Result) -> dict[str, Any]:
    """Return the keys of the scenario that have a value, dotted, as ``--set`` takes them."""
    return dict(_flat(result.manifest["scenario"]))


def metrics(result: Result) -> dict[str, float]:
    """Return all numbers of the summary that exist, by their keys."""
    return {name: value for name, value in numbers(result.summary()) if value is not None}


def checked_text(value: Any, name: str) -> str:
    """Return an option that is a text; raises InputError for one that is none."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}: expected a name, got {value!r}")
    return value


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
