"""A line of candidates: those that differ in the number of their replicas only, and the axes that lines vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulator.scenario.toml import Override

COLOCATED = "colocated"
MIXED = "mix "  # before the ratio of a mix


class ReplicaKind(NamedTuple):
    """Equal replicas of a mix."""

    gpu: str
    tensor_parallel: int
    usd_per_hour: float = 0.0  # a replica

    def __str__(self) -> str:
        return f"{self.gpu} TP{self.tensor_parallel}" if self.tensor_parallel > 1 else self.gpu


@dataclass(frozen=True)
class Axes:
    """What all lines of a plan are made of."""

    gpus: Sequence[str]
    sizes: Sequence[int]  # GPUs a replica
    shapes: Sequence[str]
    counts: Sequence[int]  # replicas in all; of a mix: of each kind
    policies: Sequence[str | None]  # None: the base's
    settings: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Line:
    """Candidates that differ in the number of their replicas only."""

    number: int
    gpu: str  # of a mix "one + other"
    tensor_parallel: int  # of a mix that of its first kind
    shape: str  # "colocated", "P:D", or of a mix "mix A:B"
    policy: str
    settings: Mapping[str, Any] = field(hash=False)
    counts: tuple[int, ...]  # replicas in all, ascending
    overrides: tuple[Override, ...] = field(hash=False)  # all but the replicas
    usd_per_replica_hour: float = field(default=0.0, compare=False)  # mean over the roles or kinds
    gpus_of_unit: Mapping[str, int] = field(
        default_factory=dict, compare=False, hash=False
    )  # of the smallest cluster
    kinds: tuple[ReplicaKind, ReplicaKind] | None = None  # of a mix

    @property
    def ratio(self) -> tuple[int, int] | None:
        """Prefill and decode replicas, or those of the two kinds, of the smallest cluster; None if all are alike."""
        if self.shape == COLOCATED:
            return None
        first, second = self.shape.removeprefix(MIXED).split(":")
        return int(first), int(second)

    @property
    def unit(self) -> int:
        """Replicas of the smallest cluster, of which all others are multiples."""
        return 1 if self.ratio is None else sum(self.ratio)

    @property
    def group(self) -> tuple[str, int, str]:
        """The hardware: GPU type, GPUs a replica, shape; of mixes whatever their ratio."""
        if self.kinds is None:
            return self.gpu, self.tensor_parallel, self.shape
        return " + ".join(map(str, self.kinds)), self.tensor_parallel, MIXED

    def usd_per_hour(self, count: int) -> float:
        """Price of so many replicas, US$ an hour."""
        return self.usd_per_replica_hour * count

    def gpus(self, count: int) -> dict[str, int]:
        """Return the GPUs of so many replicas, by type."""
        return {gpu: many * count // self.unit for gpu, many in self.gpus_of_unit.items()}

    def hardware(self, count: int) -> str:
        """Say what a candidate is made of: ``4 x l40s``, ``1P + 3D x l40s TP2``, ``1 x h100-80gb-sxm + 3 x l40s``."""
        if self.ratio is None:
            return f"{count} x {ReplicaKind(self.gpu, self.tensor_parallel)}"
        first, second = (count // self.unit * each for each in self.ratio)
        if self.kinds is not None:
            return f"{first} x {self.kinds[0]} + {second} x {self.kinds[1]}"
        return f"{first}P + {second}D x {ReplicaKind(self.gpu, self.tensor_parallel)}"

    def name(self, count: int) -> str:
        """Name a candidate for people."""
        told = {key: value for key, value in self.settings.items() if key != "policy.scheduling"}
        said = ", ".join(f"{_short(key)} {_value(value)}" for key, value in told.items())
        return f"{self.hardware(count)}, {self.policy}" + (f", {said}" if said else "")


def _short(key: str) -> str:
    return key.removeprefix("cluster.") if key.startswith("cluster.") else key.rpartition(".")[2]


def _value(value: Any) -> str:
    if not isinstance(value, dict) or "name" not in value:
        return f"{value}"
    params = ", ".join(f"{key}={each}" for key, each in value.items() if key != "name")
    return f"{value['name']}({params})"
