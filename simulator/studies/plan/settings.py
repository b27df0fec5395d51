"""What makes a line of a plan a scenario, and what it must not be."""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.pools import NAME
from simulator.scenario.scenario import Scenario
from simulator.scenario.toml import Override
from simulator.studies.plan.line import Line, ReplicaKind

MOST_CANDIDATES = 100_000
OF_ROLES = (
    "cluster.prefill.",
    "cluster.decode.",
    "cluster.link.",
    "cluster.hand_off.",
)  # keys of prefill and decode


def layout(ratio: tuple[int, int] | None) -> list[Override]:
    """Take out of the base what its cluster is, so that a line says it."""
    if ratio is None:
        return ["cluster.prefill=none", "cluster.decode=none"]
    return ["cluster.replicas=none"]


def layout_of_mix(kinds: tuple[ReplicaKind, ReplicaKind]) -> list[Override]:
    """Return the pools of a mix, one replica each, in place of the base's cluster."""
    names = _pool_names(kinds)
    pools = {
        name: {"gpu": kind.gpu, "tensor_parallel_size": kind.tensor_parallel}
        for name, kind in zip(names, kinds, strict=True)
    }
    return [*layout(None), *layout((1, 1)), ("cluster.pools", pools)]


def replicas(line: Line, count: int) -> list[str]:
    """Say how many replicas a candidate has, in all or in each pool."""
    if line.ratio is None:
        return [f"cluster.replicas={count}"]
    if line.kinds is None:
        names = ["cluster.prefill", "cluster.decode"]
    else:
        names = [f"cluster.pools.{name}" for name in _pool_names(line.kinds)]
    return [f"{name}.replicas={count // line.unit * n}" for name, n in zip(names, line.ratio, strict=True)]


def _pool_names(kinds: tuple[ReplicaKind, ReplicaKind]) -> list[str]:
    """Return the kinds' GPUs; numbers where these are paths."""
    gpus = [kind.gpu for kind in kinds]
    return gpus if all(NAME.fullmatch(gpu) for gpu in gpus) else ["pool-1", "pool-2"]


def check_scaling(scenario: Scenario) -> None:
    """Raise InputError where a policy changes the number of replicas, which a plan is to choose."""
    for pool in scenario.cluster.bounds(scenario.policy):
        if pool.policy.name != IDLE_POLICY["scaling"]:
            raise InputError(
                f"policy.scaling: {pool.policy.name!r} in a plan, which chooses a fixed number of replicas;"
                f" expected {IDLE_POLICY['scaling']!r}"
            )


def check_size(path: Path, key: str, candidates: int) -> None:
    """Raise InputError for more candidates than a plan may have."""
    if candidates > MOST_CANDIDATES:
        raise InputError(f"{path}: {key}: more than {MOST_CANDIDATES:,} candidates; expected fewer values")


def strings(path: Path, key: str, given: Any) -> list[str]:
    """Return a list of names; InputError for anything else."""
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        raise InputError(f"{path}: {key}: expected a list of names, got {given!r}")
    return given
