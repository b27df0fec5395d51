"""A plan file: traffic, target, and the space of clusters to choose from, as lines of growing numbers of replicas.

A line is everything but the number of replicas: a GPU type, GPUs a replica, colocated or a ratio of prefill to
decode replicas, a scheduling policy, settings. Along a line the price grows with the replicas.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.vocabulary import known
from simulator.scenario.engines import engine_names
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.scenario.toml import Override
from simulator.studies import study_file
from simulator.studies.plan import stages
from simulator.studies.plan.goals import Goal, check_energy, parse_goals
from simulator.studies.plan.gpus import usd_per_hour, usual_gpus
from simulator.studies.study_file import check_keys, flat, is_count, setting, values
from simulator.studies.targets import there

MOST_CANDIDATES = 100_000
COLOCATED = "colocated"
_KEYS = ("name", "base", "replications", "set", "target", "space", "allow_unvalidated")
_SPACE = ("gpus", "tensor_parallel", "shapes", "replicas", "policies", "settings")
_OF_POOLS = ("cluster.prefill.", "cluster.decode.", "cluster.link.", "cluster.hand_off.")
_SIZES = (1, 2, 4, 8)

DEFAULT_SPACE: dict[str, Any] = {
    "tensor_parallel": [1, 2, 4],
    "shapes": [COLOCATED, "1:1", "1:2", "2:1"],
    "replicas": {"from": 1, "to": 8, "steps": 8},
    "settings": {"engine.max_num_batched_tokens": [2048, 8192], "engine.max_num_seqs": [128, 256]},
}


@dataclass(frozen=True)
class Line:
    """Candidates that differ in the number of their replicas only."""

    number: int
    gpu: str
    tensor_parallel: int
    shape: str  # "colocated", or "P:D"
    policy: str
    settings: Mapping[str, Any] = field(hash=False)
    counts: tuple[int, ...]  # replicas in all, ascending
    overrides: tuple[Override, ...]  # all but the replicas
    usd_per_replica_hour: float = field(default=0.0, compare=False)  # mean over the roles

    @property
    def ratio(self) -> tuple[int, int] | None:
        """Prefill and decode replicas of the smallest cluster of this shape; None if colocated."""
        if self.shape == COLOCATED:
            return None
        prefill, decode = self.shape.split(":")
        return int(prefill), int(decode)

    @property
    def group(self) -> tuple[str, int, str]:
        """The hardware: GPU type, GPUs a replica, shape."""
        return self.gpu, self.tensor_parallel, self.shape

    def usd_per_hour(self, count: int) -> float:
        """Price of so many replicas, US$ an hour."""
        return self.usd_per_replica_hour * count

    def replicas(self, count: int) -> str:
        """Say how many replicas that is: ``4``, or ``1P + 3D``."""
        if self.ratio is None:
            return f"{count}"
        k = count // sum(self.ratio)
        return f"{k * self.ratio[0]}P + {k * self.ratio[1]}D"

    def name(self, count: int) -> str:
        """Name a candidate for people."""
        size = f" TP{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        said = ", ".join(
            f"{_short(key)} {value}" for key, value in self.settings.items() if key != "policy.scheduling"
        )
        return f"{self.replicas(count)} x {self.gpu}{size}, {self.policy}" + (f", {said}" if said else "")


def _short(key: str) -> str:
    return key.removeprefix("cluster.") if key.startswith("cluster.") else key.rpartition(".")[2]


@dataclass(frozen=True)
class PlanFile:
    """What a plan file says. Raises InputError, naming file and key, for what is wrong with it."""

    path: Path
    name: str
    base: Scenario
    base_dir: Path | None
    goals: Sequence[Goal]
    lines: Sequence[Line]
    replications: int | None  # None: as many as the traffic is random
    refused: int = 0  # lines whose policy, shape and settings do not go together

    @property
    def size(self) -> int:
        """Number of candidates."""
        return sum(len(line.counts) for line in self.lines)

    def scenario(self, line: Line, count: int) -> Scenario:
        """Return the scenario of a candidate; raises InputError for what cannot be combined."""
        return self.base.with_overrides([*line.overrides, *_replicas(line, count)])

    def engine(self, line: Line) -> str:
        """Name the engine of a line's candidates, or those of both roles where they differ."""
        return engine_names(self.scenario(line, line.counts[0]), self.base_dir)

    @classmethod
    def from_toml(cls, path: Path, target: Sequence[str] = (), allow_unvalidated: bool = False) -> "PlanFile":
        """Read a plan file; a ``target`` that is given stands in place of that of the file."""
        tables = study_file.read(path, "plan", _KEYS)
        if not isinstance(tables.get("space", {}), dict):
            raise InputError(f"{path}: space: expected a table, got {tables['space']!r}")
        given, replications = tables.get("base"), tables.get("replications")
        allowed = tables.get("allow_unvalidated", False)
        if not isinstance(allowed, bool):
            raise InputError(f"{path}: allow_unvalidated: expected true or false, got {allowed!r}")
        overrides = [setting(key, value) for key, value in flat(tables.get("set", {}))]
        overrides.append("run.trace_level=none")  # proofs on a part need every token
        if given is None:
            base, base_dir = default_scenario(overrides), path.parent
        else:
            base = Scenario.from_toml(path.parent / given, overrides)
            base_dir = (path.parent / given).parent
        name = str(tables.get("name", path.stem))
        return cls.of(
            path,
            name,
            base,
            base_dir,
            list(target) or tables.get("target"),
            tables.get("space", {}),
            replications,
            allow_unvalidated or allowed,
        )

    @classmethod
    def of(
        cls,
        path: Path,
        name: str,
        base: Scenario,
        base_dir: Path | None,
        target: Any,
        space: Mapping[str, Any],
        replications: int | None,
        allow_unvalidated: bool = False,
    ) -> "PlanFile":
        """Return the plan of a scenario, with target and space as a plan file has them; errors name ``path``.

        Of GPUs that the space does not name those count on which a server was measured with such a model, or with
        ``allow_unvalidated`` all whose step times were.
        """
        goals = parse_goals(target, str(path), there(known(base.user, base.slo, base.workload.class_bounds)))
        check_energy(goals, base.hardware.usd_per_kwh, str(path))
        gpus = {} if "gpus" in space else {"gpus": usual_gpus(path, base, base_dir, allow_unvalidated)}
        whole = {**gpus, **DEFAULT_SPACE, **space}
        lines, refused = _lines(path, whole, base, base_dir)
        return cls(path, name, base, base_dir, goals, lines, replications, refused)


def _lines(
    path: Path, space: Mapping[str, Any], base: Scenario, base_dir: Path | None
) -> tuple[list[Line], int]:
    check_keys(path, "space.", space, _SPACE)
    gpus = _strings(path, "gpus", space["gpus"])
    sizes = values(path, "space.tensor_parallel", space["tensor_parallel"])
    if any(size not in _SIZES for size in sizes):
        raise InputError(f"{path}: space.tensor_parallel: expected sizes of {_SIZES}, got {sizes}")
    counts = values(path, "space.replicas", space["replicas"])
    if not all(is_count(count) for count in counts):
        raise InputError(f"{path}: space.replicas: expected whole numbers >= 1, got {counts}")
    shapes = _strings(path, "shapes", space["shapes"])
    policies = _strings(path, "policies", space["policies"]) if "policies" in space else [None]
    if not isinstance(space["settings"], dict):
        raise InputError(
            f"{path}: space.settings: expected a table of scenario keys, got {space['settings']!r}"
        )
    keys = {
        key: values(path, f"space.settings.{key}", given) for key, given in flat(space["settings"]) if given
    }
    size = len(gpus) * len(sizes) * len(shapes) * len(counts) * len(policies)
    if size * math.prod(map(len, keys.values())) > MOST_CANDIDATES:
        raise InputError(f"{path}: space: more than {MOST_CANDIDATES:,} candidates; expected fewer values")
    found: list[Line] = []
    own_policy = base.policy.scheduling.name  # which keeps its parameters
    refused: dict[tuple[str, Any], InputError] = {}  # values that were refused, by axis
    taken: set[tuple[str, Any]] = set()
    places: set[tuple[Any, ...]] = set()
    stages_of = {} if stages.KEY in keys else stages.needed(base, base_dir, gpus, sizes)
    for gpu, tensor, shape, policy in itertools.product(gpus, sizes, shapes, policies):
        ratio = _ratio(path, shape)
        more = stages_of.get(gpu, {}) if tensor == max(sizes) and ratio is None else {}
        mine = tuple(sorted({count for count in counts if ratio is None or count % sum(ratio) == 0}))
        own = {
            key: given for key, given in keys.items() if ratio is not None or not key.startswith(_OF_POOLS)
        }
        for row in itertools.product(*own.values()):
            settings = dict(zip(own, row, strict=True)) | more
            place = (gpu, tensor, shape, policy, *map(str, row))
            if not mine or place in places:
                continue
            places.add(place)
            overrides = [
                f"hardware.gpu={gpu}", f"engine.tensor_parallel_size={tensor}", *_roles(ratio),
                *([] if policy in (None, own_policy) else [setting("policy.scheduling", policy)]),
                *(setting(key, value) for key, value in settings.items()),
            ]  # fmt: skip
            line = Line(len(found), gpu, tensor, shape, "", settings, mine, tuple(overrides))
            axes = {
                ("gpus", gpu),
                ("policies", policy),
                *((f"settings.{k}", str(v)) for k, v in settings.items()),
            }
            try:
                scenario = base.with_overrides([*overrides, *_replicas(line, mine[0])])
                _check_scaling(scenario)
                price = usd_per_hour(scenario, base_dir) / mine[0]
            except InputError as error:
                refused |= dict.fromkeys(axes, error)
                continue
            taken |= axes
            named = scenario.policy.scheduling.name
            found.append(replace(line, policy=named, usd_per_replica_hour=price))
    # A value may not go with some policy or shape; one that goes with nothing is a mistake.
    wrong = next((problem for place, problem in refused.items() if place not in taken), None)
    if wrong is not None:
        raise InputError(f"{path}: space: {str(wrong).removeprefix('--set ')}") from wrong
    if not found:
        raise InputError(f"{path}: space.replicas: no shape has any of the numbers {counts}")
    return found, len(places) - len(found)


def _check_scaling(scenario: Scenario) -> None:
    """Raise InputError where a policy changes the number of replicas, which a plan is to choose."""
    for pool in scenario.cluster.bounds(scenario.policy):
        if pool.policy.name != IDLE_POLICY["scaling"]:
            raise InputError(
                f"policy.scaling: {pool.policy.name!r} in a plan, which chooses a fixed number of replicas;"
                f" expected {IDLE_POLICY['scaling']!r}"
            )


def _roles(ratio: tuple[int, int] | None) -> list[Override]:
    """Take out of the base what its cluster is, so that a line says it."""
    if ratio is None:
        return ["cluster.prefill=none", "cluster.decode=none"]
    return ["cluster.replicas=none"]


def _replicas(line: Line, count: int) -> list[str]:
    if line.ratio is None:
        return [f"cluster.replicas={count}"]
    k = count // sum(line.ratio)
    return [
        f"cluster.{role}.replicas={k * n}" for role, n in zip(("prefill", "decode"), line.ratio, strict=True)
    ]


def _ratio(path: Path, shape: str) -> tuple[int, int] | None:
    if shape == COLOCATED:
        return None
    prefill, colon, decode = shape.partition(":")
    if not colon or not prefill.isdecimal() or not decode.isdecimal() or not int(prefill) * int(decode):
        raise InputError(
            f'{path}: space.shapes: expected "{COLOCATED}" or prefill to decode replicas such as "1:2", got'
            f" {shape!r}"
        )
    return int(prefill), int(decode)


def _strings(path: Path, key: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        raise InputError(f"{path}: space.{key}: expected a list of names, got {given!r}")
    return given
