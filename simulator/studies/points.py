"""What sweeps, searches for a capacity and plans are made of: simulations, each kept in a folder once it is done.

A result is kept under a digest of all that it depends on: a study that was cut short goes on, and one that was
changed simulates only what is new.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError, StallError
from simulator.results.folders import whole
from simulator.results.vocabulary import numbers
from simulator.scenario.origins import given, origins
from simulator.scenario.scenario import Scenario
from simulator.scenario.toml import as_toml
from simulator.studies.processes import code_digest
from simulator.workload import many_files

if TYPE_CHECKING:
    from simulator.results.result import Result

_PATHS = (
    "workload.trace", "workload.lengths", "workload.load",
    "hardware.gpu", "hardware.model", "cluster.prefill.gpu", "cluster.decode.gpu",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One simulation of a study."""

    values: Mapping[str, Any]  # of the axes, by key
    seed: int
    scenario: Scenario
    base_dir: Path | None

    def place(self, keys: Sequence[str]) -> tuple[Any, ...]:
        """Return its values of some keys; what is neither a number nor a text as one line of TOML."""
        values = (self.values[key] for key in keys)
        return tuple(each if isinstance(each, int | float | str) else as_toml(each) for each in values)

    @property
    def digest(self) -> str:
        """What its result is kept under: all that the result depends on."""
        scenario = self.scenario.model_dump(mode="json")
        content: list[Any] = [code_digest(), scenario, list(_files(scenario, self.base_dir))]
        installed = {key: each for key, each in origins(self.scenario).items() if each["package"] is not None}
        classes = [[key, id(choice.name)] for key, _, choice in given(self.scenario)]
        if installed or classes:
            content += [installed, list(_files(installed, None)), classes]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


class Kept:
    """The results of points in a folder, a file each, written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, point: Point) -> dict[str, Any] | None:
        """Return what is known of a point; None if it has to be simulated.

        That of a policy given as a class is not taken: what its code was then is not known.
        """
        if given(point.scenario):
            return None
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{point.digest}.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found

    def put(self, point: Point, found: Mapping[str, Any]) -> None:
        """Keep a result."""
        with whole(self.folder / f"{point.digest}.json") as part:
            part.write_text(json.dumps(found), encoding="utf-8")


def simulated(point: Point, measure: Callable[["Result"], dict[str, Any]]) -> dict[str, Any]:
    """Simulate a point; return what is measured of the result, or ``{"error": what went wrong}``."""
    from simulator.scenario.run import run

    try:
        result = run(point.scenario, base_dir=point.base_dir)
    except (InputError, StallError) as error:
        return {"error": str(error)}
    except Exception as error:  # a policy of one's own may raise anything; the other points go on
        return {"error": f"{type(error).__name__}: {error}"}
    return measure(result)


def numbers_of(result: "Result") -> dict[str, Any]:
    """Return the numbers of a result's summary that exist, by dotted key."""
    return {key: value for key, value in numbers(result.summary()) if value is not None}


def from_anywhere(scenario: Scenario, base_dir: Path | None, name: str) -> Scenario:
    """Return a scenario under a name, with paths that do not depend on where it is read."""
    tables = scenario.to_tables()
    pools = tables.get("cluster", {}).get("pools") or {}
    for dotted in (*_PATHS, *(f"cluster.pools.{pool}.{key}" for pool in pools for key in ("gpu", "model"))):
        *sections, key = dotted.split(".")
        table: Any = tables
        for section in sections:
            table = table.get(section, {})
        value = table.get(key)
        path = (base_dir or Path()) / value if isinstance(value, str) else None
        if path is not None and path.is_file():
            table[key] = str(path.resolve())
    return Scenario(**{**tables, "name": name})


def _files(value: Any, base_dir: Path | None) -> Iterator[str]:
    """Yield a digest of each file that a scenario names: traces, policies, hardware of one's own."""
    if isinstance(value, dict):
        for key, item in value.items():
            many = _many(item, base_dir) if key in ("trace", "lengths") and isinstance(item, str) else []
            for path in many:
                yield _digest(path, path.stat().st_mtime_ns, path.stat().st_size)
            yield from _files(item, base_dir) if not many else ()
    elif isinstance(value, str) and "." in value and "\n" not in value:
        for folder in (base_dir or Path(), Path()):
            path = folder / value
            if path.is_file():
                stat = path.stat()
                yield _digest(path, stat.st_mtime_ns, stat.st_size)
                return


def _many(value: str, base_dir: Path | None) -> list[Path]:
    """Return the files that the name of a folder, or a pattern, means; none if it is neither."""
    for folder in (base_dir or Path(), Path()):
        if many_files.are_many(folder / value):
            try:
                return many_files.files_of(folder / value)
            except InputError:
                continue
    return []


@lru_cache
def _digest(path: Path, changed_ns: int, size_bytes: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
