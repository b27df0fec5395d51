"""Many simulations: the points of a study, simulated on all cores or many machines, each kept as soon as it is done.

A study is a TOML file: a base scenario, axes that are crossed, groups of keys that go together, replications.
Points are content-addressed by their scenario: a study that was cut short goes on, one that was changed computes
only what is new.
"""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator.errors import InputError, StallError
from simulator.results.vocabulary import numbers
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.studies.processes import code_digest, new_pool, whole

MOST_POINTS = 1_000_000
_KEYS = ("name", "base", "replications", "metrics", "set", "axes", "paired")
_NAME = "name"  # of a scenario: where a group has it, it stands for the group's other keys
_RANGE = ("from", "to", "steps", "scale")


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
        return tuple(each if isinstance(each, int | float | str) else _toml(each) for each in values)

    @property
    def digest(self) -> str:
        """What its result is kept under: all that the result depends on."""
        scenario = self.scenario.model_dump(mode="json")
        content = [code_digest(), scenario, list(_files(scenario, self.base_dir))]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Study:
    """What a study file says. Raises InputError, naming file and key, for what is wrong with it."""

    path: Path
    axes: Mapping[str, Sequence[Any]]  # key -> values, crossed with all others
    paired: Sequence[Mapping[str, Sequence[Any]]] = ()  # keys whose values go together, position by position
    overrides: Sequence[str] = ()
    base: Path | None = None
    replications: int = 1
    name: str = "sweep"
    metrics: Sequence[str] = ()  # to print and to draw; none: the usual ones
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        keys = [*self.axes, *(key for group in self.paired for key in group)]
        doubled = next((key for key in keys if keys.count(key) > 1), None)
        if doubled is not None:
            raise InputError(f"{self.path}: {doubled} is an axis twice; expected once")
        if not keys:
            raise InputError(f"{self.path}: axes: missing; expected at least one key with its values")
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
    def from_toml(cls, path: Path) -> "Study":
        """Read a study file."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{path}: not found; expected a study file (TOML)") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a readable TOML file ({error})") from error
        for key in tables:
            if key not in _KEYS:
                raise InputError(f"{path}: {key}: unknown key; expected one of {', '.join(_KEYS)}")
        for key in ("set", "axes"):
            if not isinstance(tables.get(key, {}), dict):
                raise InputError(f"{path}: {key}: expected a table of scenario keys, got {tables[key]!r}")
        replications = tables.get("replications", 1)
        if not isinstance(replications, int) or isinstance(replications, bool) or replications < 1:
            raise InputError(f"{path}: replications: expected a whole number >= 1, got {replications!r}")
        base = tables.get("base")
        if base is not None and not isinstance(base, str):
            raise InputError(f"{path}: base: expected the path of a scenario file, got {base!r}")
        metrics = tables.get("metrics", [])
        if not isinstance(metrics, list) or not all(isinstance(each, str) for each in metrics):
            raise InputError(f"{path}: metrics: expected a list of numbers of a summary, got {metrics!r}")
        groups = tables.get("paired", [])
        if not isinstance(groups, list) or not all(isinstance(group, dict) and group for group in groups):
            raise InputError(f"{path}: paired: expected tables [[paired]] of keys with their values")
        paired = [
            {key: _values(path, f"paired.{key}", given) for key, given in _flat(group)} for group in groups
        ]
        for group in paired:
            lengths = {key: len(values) for key, values in group.items()}
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{key} has {n}" for key, n in lengths.items())
                raise InputError(f"{path}: paired: expected as many values for each key; {said}")
        return cls(
            path,
            {key: _values(path, f"axes.{key}", given) for key, given in _flat(tables.get("axes", {}))},
            paired,
            [_setting(key, value) for key, value in _flat(tables.get("set", {}))],
            None if base is None else path.parent / base,
            replications,
            str(tables.get("name", path.stem)),
            metrics,
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
            values = {key: value for part in choice for key, value in part.items()}
            settings = [*self.overrides, *(_setting(key, value) for key, value in values.items())]
            if self.base is None:
                scenario, base_dir = default_scenario(settings), None
            else:
                scenario, base_dir = Scenario.from_toml(self.base, settings), self.base.parent
            for replication in range(self.replications):
                seed = scenario.seed + replication
                alike = scenario.with_overrides([f"seed={seed}"]) if replication else scenario
                found.append(Point(values, seed, alike, base_dir))
        return found


def _files(value: Any, base_dir: Path | None) -> Iterator[str]:
    """Yield a digest of each file that a scenario names: traces, policies, hardware of one's own."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _files(item, base_dir)
    elif isinstance(value, str) and "." in value and "\n" not in value:
        for folder in (base_dir or Path(), Path()):
            path = folder / value
            if path.is_file():
                stat = path.stat()
                yield _digest(path, stat.st_mtime_ns, stat.st_size)
                return


@lru_cache
def _digest(path: Path, changed_ns: int, size_bytes: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys, whether they are written ``"a.b" = 1``, ``a.b = 1`` or ``[a] b = 1``."""
    for key, value in table.items():
        if isinstance(value, dict) and not set(value) <= set(_RANGE):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _setting(key: str, value: Any) -> str:
    return f"{key}={value if isinstance(value, str) else _toml(value)}"


def _toml(value: Any) -> str:
    """Return a value as TOML; a table stands on one line."""
    import tomli_w

    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    return tomli_w.dumps({"v": value})[4:].strip()


def _values(path: Path, key: str, given: Any) -> list[Any]:
    """Return the values of an axis: a list, or a range ``{from, to, steps, scale = "linear" or "log"}``."""
    if isinstance(given, list) and given:
        return given
    if not isinstance(given, dict):
        raise InputError(f"{path}: {key}: expected a list of values or a range, got {given!r}")
    first, last, steps = given.get("from"), given.get("to"), given.get("steps")
    log = given.get("scale") == "log"
    if (
        not isinstance(first, int | float)
        or not isinstance(last, int | float)
        or not isinstance(steps, int)
        or steps < 2
        or given.get("scale") not in (None, "linear", "log")
        or (log and not 0 < first < last)
    ):
        raise InputError(
            f'{path}: {key}: expected a range such as {{from = 1.0, to = 8.0, steps = 4, scale = "log"}}'
            f" (steps >= 2; log: from > 0 and to > from), got {given}"
        )
    whole = isinstance(first, int) and isinstance(last, int)
    found: list[float] = []
    for i in range(steps):
        share = i / (steps - 1)
        value = first * (last / first) ** share if log else first + (last - first) * share
        found.append(round(value) if whole else float(f"{value:.12g}"))
    return list(dict.fromkeys(found))


def measure(point: Point) -> dict[str, Any]:
    """Simulate one point; return its numbers, or what went wrong with it."""
    from simulator.scenario.run import run

    try:
        result = run(point.scenario, base_dir=point.base_dir)
    except (InputError, StallError) as error:
        return {"error": str(error)}
    except Exception as error:  # a policy of one's own may raise anything; the other points go on
        return {"error": f"{type(error).__name__}: {error}"}
    return there_of(result.summary())


def there_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a summary that exist, by dotted key."""
    return {key: value for key, value in numbers(summary) if value is not None}


class Kept:
    """The results of a study's points in a folder, a file each, written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, point: Point) -> dict[str, Any] | None:
        """Return what is known of a point; None if it has to be simulated."""
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{point.digest}.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found

    def put(self, point: Point, found: Mapping[str, Any]) -> None:
        """Keep a result."""
        with whole(self.folder / f"{point.digest}.json") as part:
            part.write_text(json.dumps(found), encoding="utf-8")


Finished = Iterator[tuple[Point, dict[str, Any]]]


def on_cores(points: Sequence[Point], jobs: int) -> Finished:
    """Simulate points on this machine, ``jobs`` at once; yield each as it is done."""
    if jobs == 1 or len(points) == 1:
        for point in points:
            yield point, measure(point)
        return
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    queue = iter(points)
    with new_pool(jobs) as pool:
        under_way: dict[Future[dict[str, Any]], Point] = {}
        try:
            while True:
                for point in itertools.islice(queue, 2 * jobs - len(under_way)):
                    under_way[pool.submit(measure, point)] = point
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    yield under_way.pop(future), future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def on_ray(points: Sequence[Point], address: str) -> Finished:
    """Simulate points on a Ray cluster (``auto``: the one there is; ``local``: one on this machine)."""
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray: Ray is not installed; expected: pip install 'servesim[ray]'") from error
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"--ray {address}: no Ray cluster there; expected an address, auto or local"
        ) from error
    remote = ray.remote(measure)
    try:
        queue = iter(points)
        under_way: dict[Any, Point] = {}
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while True:
            for point in itertools.islice(queue, most - len(under_way)):
                under_way[remote.remote(point)] = point
            if not under_way:
                return
            for done in ray.wait(list(under_way))[0]:
                yield under_way.pop(done), ray.get(done)
    finally:
        ray.shutdown()


def run_study(
    study: Study,
    out: Path,
    simulate: Callable[[Sequence[Point]], Finished],
    on_done: Callable[[int, int], None],
) -> list[tuple[Point, dict[str, Any]]]:
    """Simulate what is not in ``out`` yet; return every point with its result, in the study's order.

    ``on_done`` gets points done and points in all. What is done is in ``out`` whatever happens after.
    """
    points, kept = study.points(), Kept(out / "points")
    results = {point.digest: kept.get(point) for point in points}
    missing = [point for point in points if results[point.digest] is None]
    on_done(len(points) - len(missing), len(points))
    for done, (point, found) in enumerate(simulate(missing), 1):
        kept.put(point, found)
        results[point.digest] = found
        on_done(len(points) - len(missing) + done, len(points))
    return [(point, results[point.digest] or {}) for point in points]
