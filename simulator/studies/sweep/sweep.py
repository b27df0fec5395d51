"""Many simulations: the points of a study, simulated on all cores or many machines, each kept as soon as it is done.

A study is a TOML file: a base scenario, axes that are crossed, groups of keys that go together, replications.
Points are content-addressed by their scenario: a study that was cut short goes on, one that was changed computes
only what is new.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.scenario.toml import Override, as_toml, key_of
from simulator.studies import study_file
from simulator.studies.points import Kept, Point, numbers_of, simulated
from simulator.studies.study_file import flat, setting, values
from simulator.studies.workers import Workers

MOST_POINTS = 1_000_000
_KEYS = ("name", "base", "replications", "metrics", "target", "set", "axes", "paired")
_NAME = "name"  # of a scenario: where a group has it, it stands for the group's other keys


@dataclass(frozen=True)
class Study:
    """What a study file says. Raises InputError, naming file and key, for what is wrong with it."""

    path: Path
    axes: Mapping[str, Sequence[Any]]  # key -> values, crossed with all others
    paired: Sequence[Mapping[str, Sequence[Any]]] = ()  # keys whose values go together, position by position
    overrides: Sequence[Override] = ()
    base: Path | Scenario | None = None  # a scenario file, or one as it is; none: the default one
    replications: int = 1
    name: str = "sweep"
    metrics: Sequence[str] = ()  # to print and to draw; none: the usual ones
    base_dir: Path | None = None  # that the paths of a scenario which is no file begin at
    target: Sequence[str] = ()  # bounds that a point keeps or misses
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        keys = [*self.axes, *(key for group in self.paired for key in group)]
        doubled = next((key for key in keys if keys.count(key) > 1), None)
        if doubled is not None:
            raise InputError(f"{self.path}: {doubled} is an axis twice; expected once")
        if not keys:
            raise InputError(f"{self.path}: axes: missing; expected at least one key with its values")
        both = next((key for key in map(key_of, self.overrides) if key in keys), None)
        if both is not None:
            raise InputError(f"{self.path}: {both} is set and an axis; expected one of the two")
        if "seed" in keys and self.replications > 1:
            raise InputError(
                f"{self.path}: seed is an axis beside replications = {self.replications}, which are seeds too;"
                " expected one of the two"
            )
        object.__setattr__(self, "keys", tuple(keys))
        for names in (group[_NAME] for group in self.paired if _NAME in group):
            if len(set(map(str, names))) < len(names):
                raise InputError(
                    f"{self.path}: paired.{_NAME}: expected a different name for each, got {names}"
                )
        count = math.prod(map(len, self.axes.values())) * self.replications
        count *= math.prod(len(next(iter(group.values()))) for group in self.paired)
        if count > MOST_POINTS:
            raise InputError(f"{self.path}: {count:,} points; expected at most {MOST_POINTS:,}")

    @property
    def dimensions(self) -> list[list[str]]:
        """The keys that tell points apart, by axis and group: of a group whose points have names, the name."""
        return [[key] for key in self.axes] + [
            [_NAME] if _NAME in group else list(group) for group in self.paired
        ]

    @property
    def shown(self) -> list[str]:
        """The same in one list."""
        return [key for dimension in self.dimensions for key in dimension]

    @classmethod
    def from_toml(cls, path: Path, target: Sequence[str] = ()) -> "Study":
        """Read a study file; a ``target`` that is given stands in place of that of the file."""
        tables = study_file.read(path, "study", _KEYS)
        if not isinstance(tables.get("axes", {}), dict):
            raise InputError(f"{path}: axes: expected a table of scenario keys, got {tables['axes']!r}")
        base = tables.get("base")
        metrics = tables.get("metrics", [])
        if not isinstance(metrics, list) or not all(isinstance(each, str) for each in metrics):
            raise InputError(f"{path}: metrics: expected a list of numbers of a summary, got {metrics!r}")
        groups = tables.get("paired", [])
        if not isinstance(groups, list) or not all(isinstance(group, dict) and group for group in groups):
            raise InputError(f"{path}: paired: expected tables [[paired]] of keys with their values")
        return cls(
            path,
            {key: values(path, f"axes.{key}", given) for key, given in flat(tables.get("axes", {}))},
            paired_values(path, groups),
            [setting(key, value) for key, value in flat(tables.get("set", {}))],
            None if base is None else path.parent / base,
            tables.get("replications", 1),
            str(tables.get("name", path.stem)),
            metrics,
            target=list(target) or tables.get("target", ()),
        )

    def points(self) -> list[Point]:
        """Return all points, every scenario checked; replications differ in their seed only."""
        groups: list[list[dict[str, Any]]] = [[{key: v} for v in values] for key, values in self.axes.items()]
        groups += [
            [dict(zip(group, row, strict=True)) for row in zip(*group.values(), strict=True)]
            for group in self.paired
        ]
        found = []
        for choice in itertools.product(*groups):
            chosen = {key: value for part in choice for key, value in part.items()}
            settings = [*self.overrides, *(setting(key, value) for key, value in chosen.items())]
            if self.base is None:
                scenario, base_dir = default_scenario(settings), self.base_dir
            elif isinstance(self.base, Scenario):
                scenario, base_dir = self.base.with_overrides(settings), self.base_dir
            else:
                scenario, base_dir = Scenario.from_toml(self.base, settings), self.base.parent
            for replication in range(self.replications):
                seed = scenario.seed + replication
                alike = scenario.with_overrides([f"seed={seed}"]) if replication else scenario
                found.append(Point(chosen, seed, alike, base_dir))
        return found

    def points_by_digest(self) -> dict[str, Point]:
        """Return all points by what they are kept under; raise InputError for two that are one simulation."""
        found: dict[str, Point] = {}
        for point in self.points():
            other = found.setdefault(point.digest, point)
            if other is not point:
                here, there = (
                    ", ".join(f"{key} = {as_toml(value)}" for key, value in each.values.items())
                    for each in (other, point)
                )
                raise InputError(
                    f"{self.path}: {here}{'' if here == there else f' and {there}'}: the same simulation twice,"
                    " which would count as two replications; expected each once"
                )
        return found


def paired_values(path: Path, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, list[Any]]]:
    """Return the values of the keys of each group; raises InputError where a group has not as many for each."""
    paired = [{key: values(path, f"paired.{key}", given) for key, given in flat(group)} for group in groups]
    for group in paired:
        lengths = {key: len(values) for key, values in group.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise InputError(f"{path}: paired: expected as many values for each key; {said}")
    return paired


def measure(point: Point) -> dict[str, Any]:
    """Simulate one point; return its numbers, or what went wrong with it."""
    return simulated(point, numbers_of)


def run_study(
    study: Study,
    out: Path,
    workers: Workers,
    on_done: Callable[[int, int], None],
) -> list[tuple[Point, dict[str, Any]]]:
    """Simulate what is not in ``out`` yet; return every point with its result, in the study's order.

    ``on_done`` gets points done and points in all. What is done is in ``out`` whatever happens after. Raises
    InputError for a study with one simulation twice.
    """
    points, kept = study.points_by_digest(), Kept(out / "points")
    results = {digest: kept.get(point) for digest, point in points.items()}
    missing = {digest: (point,) for digest, point in points.items() if results[digest] is None}
    on_done(len(points) - len(missing), len(points))
    try:
        for done, (digest, found) in enumerate(workers.done(measure, missing), 1):
            kept.put(points[digest], found)
            results[digest] = found
            on_done(len(points) - len(missing) + done, len(points))
    finally:
        workers.close()
    return [(point, results[digest] or {}) for digest, point in points.items()]
