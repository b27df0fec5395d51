"""What the functions take: a scenario in any form, keys with values, where results go, how many processes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.functions.machine import cores
from simulator.scenario.given import GivenPolicy, LabelledPolicy, labelled
from simulator.scenario.origins import given
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.scenario.toml import Override
from simulator.studies.study_file import flat, is_count, setting
from simulator.studies.workers import ALONE, Workers

ScenarioLike = Scenario | str | Path | Mapping[str, Any] | None
Settings = Mapping[str, Any] | None


def read_scenario(value: ScenarioLike, settings: Settings = None) -> tuple[Scenario, Path | None]:
    """Return a scenario and the folder that its relative paths begin at.

    ``value`` is a scenario, the path of a scenario file, its tables as a dict, or None for what ``servesim run``
    simulates; ``settings`` are dotted keys with other values. Raises InputError for anything else.
    """
    changes = overrides(settings)
    if value is None:
        return default_scenario(changes), None
    if isinstance(value, Scenario):
        return value.with_overrides(changes) if changes else value, None
    if isinstance(value, str | Path):
        return Scenario.from_toml(value, changes), Path(value).parent
    if isinstance(value, Mapping):
        return Scenario(**value).with_overrides(changes), None
    raise InputError(
        f"scenario: expected a Scenario, the path of a scenario file, its tables as a dict or None, got {value!r}"
    )


def overrides(settings: Settings) -> list[Override]:
    """Return dotted keys with their values as overrides of a scenario."""
    if settings is not None and not isinstance(settings, Mapping):
        raise InputError(f"settings: expected a dict of scenario keys with their values, got {settings!r}")
    return [setting(key, plain(value)) for key, value in flat(settings or {})]


def plain(value: Any) -> Any:
    """Return a value as a study file has it: numpy's numbers as Python's, policies under a label."""
    if isinstance(value, np.generic):
        return value.item()
    return labelled(value)


def axis(value: Any) -> Any:
    """Return the values of a key as a study file has them: a list, or a range as a dict."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    found = [plain(each) for each in value]
    labels = [each for each in found if isinstance(each, LabelledPolicy)]
    doubled = next((each for each in labels if found.count(each) > 1), None)
    if doubled is not None:
        raise InputError(f"axes: two values are called {doubled}; expected classes with names of their own")
    return found


def check_count(name: str, value: Any) -> int:
    """Return a number of something, at least 1; raises InputError for anything else."""
    if not is_count(value):
        raise InputError(f"{name}: expected a whole number >= 1, got {value!r}")
    return int(value)


def workers_for(scenarios: Iterable[Scenario], jobs: int | None, ray: str | None = None) -> Workers:
    """Return what simulates: as many processes as given, or one a core, or the Ray cluster at an address.

    A policy whose class other processes cannot import is simulated in this one. Raises InputError if ``jobs`` or
    ``ray`` asks for more, and for both at once.
    """
    if jobs is not None:
        check_count("jobs", jobs)
        if ray is not None:
            raise InputError(
                "jobs: given together with ray, which knows its own cores; expected one of the two"
            )
    if ray is not None and not (isinstance(ray, str) and ray):
        raise InputError(f"ray: expected the address of a cluster, any, auto or local, got {ray!r}")
    for key, _, choice in (each for scenario in scenarios for each in given(scenario)):
        name = choice.name
        if not isinstance(name, GivenPolicy) or name.sendable:
            continue
        if ray is not None or (jobs is not None and jobs > 1):
            asked = f"jobs: {jobs}" if ray is None else f"ray: {ray}"
            raise InputError(
                f"{asked} with {key} = {name}, a class that other processes cannot import, as it is made in a"
                " notebook, in the main program or in a function; expected 1, or the class at the top of a module"
            )
        return ALONE
    return Workers(jobs or cores(), ray)


@contextmanager
def folder_for(out: str | Path | None) -> Iterator[Path]:
    """Yield the folder that results go to; one that is gone at the end where none is given."""
    if out is not None:
        yield Path(out)
        return
    with TemporaryDirectory(prefix="servesim-") as folder:
        yield Path(folder)


def ignore(done: int, total: int) -> None:
    """Take note of no progress."""


def named(values: Sequence[Any] | Mapping[str, Any], what: str) -> tuple[list[str], list[Any]]:
    """Return names and values of a dict, or of a list, whose names are empty."""
    if isinstance(values, Mapping):
        return [str(name) for name in values], list(values.values())
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{what}: expected a list or a dict by name, got {values!r}")
    return [""] * len(values), list(values)
