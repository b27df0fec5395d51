"""A plan file: traffic, target, and the space of clusters to choose from, as lines of growing numbers of replicas.

A line is everything but the number of replicas: a GPU type, GPUs a replica, colocated or a ratio of prefill to
decode replicas, a scheduling policy, settings. Along a line the price grows with the replicas.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.vocabulary import known
from simulator.scenario.engines import engine_names
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.studies import study_file
from simulator.studies.plan import stages
from simulator.studies.plan.budget import Budget
from simulator.studies.plan.goals import Goal, check_energy, parse_goals
from simulator.studies.plan.gpus import gpus_of, usd_per_hour, usual_gpus
from simulator.studies.plan.line import COLOCATED, Axes, Line
from simulator.studies.plan.mixes import mixed_lines
from simulator.studies.plan.settings import OF_ROLES, check_scaling, check_size, layout, replicas, strings
from simulator.studies.study_file import check_keys, flat, is_count, setting, values
from simulator.studies.targets import there

_KEYS = ("name", "base", "replications", "set", "target", "space", "mixes", "budget", "allow_unvalidated")
_SPACE = ("gpus", "tensor_parallel", "shapes", "replicas", "policies", "settings")
_SIZES = (1, 2, 4, 8)

DEFAULT_SPACE: dict[str, Any] = {
    "tensor_parallel": [1, 2, 4],
    "shapes": [COLOCATED, "1:1", "1:2", "2:1"],
    "replicas": {"from": 1, "to": 8, "steps": 8},
    "settings": {"engine.max_num_batched_tokens": [2048, 8192], "engine.max_num_seqs": [128, 256]},
}


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
    beyond_budget: int = 0  # candidates

    @property
    def size(self) -> int:
        """Number of candidates."""
        return sum(len(line.counts) for line in self.lines)

    def scenario(self, line: Line, count: int) -> Scenario:
        """Return the scenario of a candidate; raises InputError for what cannot be combined."""
        return self.base.with_overrides([*line.overrides, *replicas(line, count)])

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
            tables.get("mixes"),
            tables.get("budget"),
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
        mixes: Any = None,
        budget: Any = None,
    ) -> "PlanFile":
        """Return the plan of a scenario, with target and tables as a plan file has them; errors name ``path``.

        Of GPUs that the space does not name those count on which a server was measured with such a model, or with
        ``allow_unvalidated`` all whose step times were.
        """
        goals = parse_goals(target, str(path), there(known(base.user, base.slo, base.workload.class_bounds)))
        check_energy(goals, base.hardware.usd_per_kwh, str(path))
        limits = Budget.of(path, budget)
        usual = {} if "gpus" in space else {
            "gpus": list(limits.gpus) or usual_gpus(path, base, base_dir, allow_unvalidated)
        }  # fmt: skip
        axes = _axes(path, {**usual, **DEFAULT_SPACE, **space})
        lines, refused = _lines(path, axes, base, base_dir)
        if mixes is not None:
            mixed, more = mixed_lines(path, mixes, axes, base, base_dir, len(lines))
            lines, refused = lines + mixed, refused + more
        size = sum(len(line.counts) for line in lines)
        plan = cls(path, name, base, base_dir, goals, limits.within(path, lines), replications, refused)
        return replace(plan, beyond_budget=size - plan.size)


def _axes(path: Path, space: Mapping[str, Any]) -> Axes:
    check_keys(path, "space.", space, _SPACE)
    sizes = values(path, "space.tensor_parallel", space["tensor_parallel"])
    if any(size not in _SIZES for size in sizes):
        raise InputError(f"{path}: space.tensor_parallel: expected sizes of {_SIZES}, got {sizes}")
    counts = values(path, "space.replicas", space["replicas"])
    if not all(is_count(count) for count in counts):
        raise InputError(f"{path}: space.replicas: expected whole numbers >= 1, got {counts}")
    if not isinstance(space["settings"], dict):
        raise InputError(
            f"{path}: space.settings: expected a table of scenario keys, got {space['settings']!r}"
        )
    keys = {
        key: values(path, f"space.settings.{key}", given) for key, given in flat(space["settings"]) if given
    }
    return Axes(
        strings(path, "space.gpus", space["gpus"]),
        sizes,
        strings(path, "space.shapes", space["shapes"]),
        counts,
        strings(path, "space.policies", space["policies"]) if "policies" in space else [None],
        keys,
    )


def _lines(path: Path, axes: Axes, base: Scenario, base_dir: Path | None) -> tuple[list[Line], int]:
    gpus, sizes, keys = axes.gpus, axes.sizes, axes.settings
    every = len(gpus) * len(sizes) * len(axes.shapes) * len(axes.counts) * len(axes.policies)
    check_size(path, "space", every * math.prod(map(len, keys.values())))
    found: list[Line] = []
    own_policy = base.policy.scheduling.name  # which keeps its parameters
    refused: dict[tuple[str, Any], InputError] = {}  # values that were refused, by axis
    taken: set[tuple[str, Any]] = set()
    places: set[tuple[Any, ...]] = set()
    stages_of = {} if stages.KEY in keys else stages.needed(base, base_dir, gpus, sizes)
    for gpu, tensor, shape, policy in itertools.product(gpus, sizes, axes.shapes, axes.policies):
        ratio = _ratio(path, shape)
        more = stages_of.get(gpu, {}) if tensor == max(sizes) and ratio is None else {}
        mine = tuple(sorted({count for count in axes.counts if ratio is None or count % sum(ratio) == 0}))
        own = {key: given for key, given in keys.items() if ratio is not None or not key.startswith(OF_ROLES)}
        for row in itertools.product(*own.values()):
            settings = dict(zip(own, row, strict=True)) | more
            place = (gpu, tensor, shape, policy, *map(str, row))
            if not mine or place in places:
                continue
            places.add(place)
            overrides = [
                f"hardware.gpu={gpu}", f"engine.tensor_parallel_size={tensor}", *layout(ratio),
                *([] if policy in (None, own_policy) else [setting("policy.scheduling", policy)]),
                *(setting(key, value) for key, value in settings.items()),
            ]  # fmt: skip
            line = Line(len(found), gpu, tensor, shape, "", settings, mine, tuple(overrides))
            chosen = {
                ("gpus", gpu),
                ("policies", policy),
                *((f"settings.{k}", str(v)) for k, v in settings.items()),
            }
            try:
                scenario = base.with_overrides([*overrides, *replicas(line, mine[0])])
                check_scaling(scenario)
                price = usd_per_hour(scenario, base_dir) / mine[0]
                gpus_of_unit = {name: many * line.unit // mine[0] for name, many in gpus_of(scenario).items()}
            except InputError as error:
                refused |= dict.fromkeys(chosen, error)
                continue
            taken |= chosen
            named = scenario.policy.scheduling.name
            found.append(replace(line, policy=named, usd_per_replica_hour=price, gpus_of_unit=gpus_of_unit))
    # A value may not go with some policy or shape; one that goes with nothing is a mistake.
    wrong = next((problem for place, problem in refused.items() if place not in taken), None)
    if wrong is not None:
        raise InputError(f"{path}: space: {str(wrong).removeprefix('--set ')}") from wrong
    if not found:
        raise InputError(f"{path}: space.replicas: no shape has any of the numbers {axes.counts}")
    return found, len(places) - len(found)


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
