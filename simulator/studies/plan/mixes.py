"""Mixes of two kinds of GPU behind one router: the lines that ``[mixes]`` of a plan file adds to its space.

Each mix is a line of its own: a router that prefers the cheaper kind may serve worse where more of it are, and even
one that weighs loads may when a slower kind comes in, so that nothing is known of one mix from another.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware_profiles import load_gpu
from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.gpus import gpus_of, price_of
from simulator.studies.plan.line import MIXED, Axes, Line, ReplicaKind
from simulator.studies.plan.settings import OF_ROLES, check_scaling, check_size, layout_of_mix, strings
from simulator.studies.study_file import check_keys, setting

ROUTERS = ("least_loaded", "cheapest_that_meets")
_KEYS = ("gpus", "routers")
_ROUTING = "policy.routing"


def mixed_lines(
    path: Path, given: Any, axes: Axes, base: Scenario, base_dir: Path | None, first: int
) -> tuple[list[Line], int]:
    """Return the lines, numbered from ``first`` on, and how many were refused; InputError for what is wrong."""
    if not isinstance(given, Mapping):
        raise InputError(f"{path}: mixes: expected a table, got {given!r}")
    check_keys(path, "mixes.", given, _KEYS)
    gpus = list(dict.fromkeys(strings(path, "mixes.gpus", given.get("gpus", list(axes.gpus)))))
    if len(gpus) < 2:
        raise InputError(f"{path}: mixes.gpus: expected at least two unlike GPUs, got {gpus}")
    _check_gpus(path, gpus, base_dir)
    routers = _routers(path, given.get("routers", list(ROUTERS)), base)
    own = {k: each for k, each in axes.settings.items() if not k.startswith(OF_ROLES) and k != _ROUTING}
    pairs = list(itertools.product(sorted(set(axes.counts)), repeat=2))  # replicas of each kind
    rows = list(itertools.product(*own.values()))
    kinds = [
        (ReplicaKind(one, size), ReplicaKind(other, another))
        for one, other in itertools.combinations(gpus, 2)
        for size, another in itertools.product(axes.sizes, repeat=2)
    ]
    mixes = len(kinds) * len(axes.policies) * len(routers) * len(rows)
    check_size(path, "mixes", mixes * len(pairs))
    found: list[Line] = []
    problem: InputError | None = None
    for both, policy, row, router in itertools.product(kinds, axes.policies, rows, routers):
        settings = {**dict(zip(own, row, strict=True)), _ROUTING: router}
        overrides = [
            f"hardware.gpu={both[0].gpu}", *layout_of_mix(both),
            *([] if policy in (None, base.policy.scheduling.name) else [setting("policy.scheduling", policy)]),
            *(setting(key, value) for key, value in settings.items()),
        ]  # fmt: skip
        try:
            scenario = base.with_overrides(overrides)
            check_scaling(scenario)
        except InputError as error:
            problem = problem or error
            continue
        many = gpus_of(scenario)  # one replica of each kind
        first_kind, second_kind = (
            kind._replace(usd_per_hour=many[kind.gpu] * price_of(kind.gpu, base_dir)) for kind in both
        )
        named, label = scenario.policy.scheduling.name, f"{first_kind.gpu} + {second_kind.gpu}"
        for one, other in pairs:
            unit = {
                first_kind.gpu: one * many[first_kind.gpu],
                second_kind.gpu: other * many[second_kind.gpu],
            }
            usd = (one * first_kind.usd_per_hour + other * second_kind.usd_per_hour) / (one + other)
            found.append(
                Line(
                    first + len(found), label, first_kind.tensor_parallel, f"{MIXED}{one}:{other}", named, settings,
                    (one + other,), tuple(overrides), usd, unit, (first_kind, second_kind),
                )
            )  # fmt: skip
    if not found:
        raise InputError(f"{path}: mixes: {str(problem).removeprefix('--set ')}") from problem
    return found, mixes * len(pairs) - len(found)


def _check_gpus(path: Path, gpus: Sequence[str], base_dir: Path | None) -> None:
    for gpu in gpus:
        try:
            load_gpu(gpu, base_dir)
        except InputError as error:
            raise InputError(f"{path}: mixes.gpus: {error}") from error


def _routers(path: Path, given: Any, base: Scenario) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise InputError(f"{path}: mixes.routers: expected a list of routing policies, got {given!r}")
    for router in given:
        try:
            base.with_overrides([setting(_ROUTING, router)])
        except InputError as error:
            raise InputError(f"{path}: mixes.routers: {str(error).removeprefix('--set ')}") from error
    return given
