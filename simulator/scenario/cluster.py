"""The cluster of a scenario: how many replicas in which roles, the links between them, and their faults."""

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from simulator.errors import InputError
from simulator.scenario.engine import AtLeastOne, Section, without_unset
from simulator.scenario.policy import IDLE_POLICY, Policy, PolicyChoice, choice
from simulator.scenario.pools import NAME, MixedPoolSpec, OrNone, PoolSpec, Replicas
from simulator.workload.checks import LARGEST_FACTOR
from simulator.workload.ranges import Duration, Positive, Seconds

ShareOfAll = Annotated[float, Field(gt=0, le=1)]


class LinkSpec(Section):
    """What KV caches travel on: each GPU of a replica has a port; what is unset is as in the link's profile."""

    kind: str = Field(
        "infiniband",
        description="a shipped link (infiniband, nvlink, pcie, ethernet, roce-mooncake), or the path of a profile",
    )
    bandwidth_gb_s: Positive | None = Field(
        None, description="GB/s (10^9 bytes) a port and direction; unset: as the profile"
    )
    achieved_share: ShareOfAll | None = Field(
        None, description="of the bandwidth, by large transfers; unset: as the profile"
    )
    latency_s: Seconds | None = Field(None, description="before the first byte; unset: as the profile")
    setup_s: Seconds | None = Field(None, description="of each transfer; unset: as the profile")
    descriptor_s: Seconds | None = Field(
        None, description="of each piece of memory that a GPU posts; unset: as the profile"
    )
    handshake_s: Seconds | None = Field(
        None, description="first contact of two replicas; unset: as the profile"
    )
    connected: bool = Field(
        True, description="replicas there at the start have had theirs; false: it comes with the first KV"
    )
    cross_layer_blocks: bool = Field(
        False, description="a KV block is one piece over all layers, not two (keys, values) in each"
    )


class HandOffSpec(Section):
    """How a prefill replica hands a request over to a decode replica."""

    when_full: Literal["wait", "recompute", "colocate", "evict"] = Field(
        "wait",
        description="no room at the decode replica: wait, compute the prompt again there, decode where it is,"
        " or preempt others there",
    )
    overlap: Literal["after", "chunks", "layerwise"] = Field(
        "after",
        description="the KV is pulled when the prompt is computed, or sent chunk by chunk as it is computed, or"
        " layer by layer within each chunk",
    )
    first_token: Literal["decode", "prefill"] = Field(
        "decode",
        description="the side whose first token the client gets: after the pull and a decode step, or at once",
    )
    routing_s: Seconds | None = Field(
        None,
        description="from the prompt's end until the decode replica has the request; unset: as the link's profile",
    )
    hold_s: Positive = Field(
        480.0, description="how long a prefill replica holds blocks that are not pulled (vLLM with NIXL: 480)"
    )
    when_expired: Literal["fail", "recompute"] = Field(
        "fail", description="what then becomes of the request: it fails, or is computed where it was to go"
    )
    routing: Annotated[PolicyChoice, choice("routing", "cluster.hand_off.routing")] = Field(
        PolicyChoice(name="least_loaded"),
        validate_default=True,
        description="which decode replica a request goes to",
    )


class MigrationSpec(Section):
    """What a live migration costs beside its transfers."""

    handshake_s: Seconds = Field(
        0.01, description="before each stage of the copy, and once while the request stands still"
    )
    gpu_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="by which steps of both replicas are longer meanwhile"
    )


class FaultSpec(Section):
    """One fault at a given time."""

    kind: Literal["crash", "slow", "link"]
    at_s: Seconds
    replica: Annotated[
        int, Field(ge=0, lt=1_000_000)
    ]  # counting prefill replicas first, then decode replicas
    for_s: Duration  # until it is back, or as fast as before
    factor: Annotated[float, Field(gt=0, le=LARGEST_FACTOR, allow_inf_nan=False)] = (
        2.0  # slow: steps take so many times as long (below 1: they are shorter);
    )
    # link: its port has so many times less bandwidth


class FaultsSpec(Section):
    """What goes wrong: a list of faults, or crashes at random."""

    events: list[FaultSpec] = Field(
        default_factory=list,
        description='such as [{kind = "crash", replica = 0, at_s = 60.0, for_s = 30.0}]; kinds crash, slow, link',
    )
    mtbf_s: Duration | None = Field(
        None, description="mean time between a replica's crashes (exponential); unset: none at random"
    )
    repair_s: Duration = Field(60.0, description="how long a replica is down after a random crash")
    retries: Annotated[int, Field(ge=0, le=1000)] = Field(
        3,
        description="how often a request hit by a crash is computed again before it fails; 0: it fails at once",
    )


class ScalingSpec(Section):
    """Between what bounds policy.scaling may change the number of replicas, and how long a new one takes."""

    min_replicas: OrNone = Field(
        1, description="of each pool; 0: the first request after a pause waits for a machine and the model"
    )
    max_replicas: Replicas | None = Field(None, description="of each pool; has to be set for policy.scaling")
    max_gpus: AtLeastOne | None = Field(
        None,
        description="that all pools of cluster.pools which are scaled hold at once, from order to release; unset: no"
        " bound",
    )
    provision_s: Seconds = Field(
        120.0, description="from the order until the machine is there; it is paid for from then on"
    )
    load_s: Seconds | None = Field(
        None, description="from then until it takes requests; unset: the model's bytes at load_gb_s"
    )
    load_gb_s: Positive = Field(2.0, description="GB/s (10^9 bytes) at which a replica's model is loaded")

    @model_serializer(mode="wrap")
    def _brief(self, whole: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        return without_unset(whole(self), info, "max_gpus")


class Bounds(NamedTuple):
    """How many replicas a pool has at the start, and may have under its scaling policy."""

    key: str  # of the pool
    replicas: int
    min_replicas: int
    max_replicas: int | None
    policy: PolicyChoice


class ClusterSpec(Section):
    """How many engines serve the traffic, in which roles."""

    replicas: Replicas = Field(1, description="identical engines behind the router")
    prefill: PoolSpec | None = Field(None, description="disaggregated: the engines that compute prompts")
    decode: PoolSpec | None = Field(None, description="disaggregated: those that decode")
    pools: dict[str, MixedPoolSpec] | None = Field(
        None, description="unlike replicas behind one router: a table for each pool, [cluster.pools.NAME]"
    )
    link: LinkSpec = LinkSpec.model_construct()
    hand_off: HandOffSpec = Field(default_factory=HandOffSpec)
    migration: MigrationSpec = MigrationSpec.model_construct()
    faults: FaultsSpec = FaultsSpec.model_construct()
    scaling: ScalingSpec = ScalingSpec.model_construct()

    @model_validator(mode="before")
    @classmethod
    def _name_the_pool(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("replicas", 1) != 1:
            if data.get("pools") is not None:
                raise InputError(
                    "cluster.replicas: given together with cluster.pools; expected cluster.pools.NAME.replicas"
                )
            for role in ("prefill", "decode"):
                if data.get(role) is not None:
                    raise InputError(
                        f"cluster.replicas: given together with cluster.{role}; expected cluster.prefill.replicas"
                        " and cluster.decode.replicas in a disaggregated cluster"
                    )
        return data

    @model_validator(mode="after")
    def _both_roles(self) -> Self:
        for role, other in (("prefill", "decode"), ("decode", "prefill")):
            if getattr(self, role) is None and getattr(self, other) is not None:
                raise InputError(f"cluster.{role}: missing; expected beside cluster.{other}")
        if self.pools is None:
            return self
        if self.prefill is not None:
            raise InputError("cluster.pools: given together with cluster.prefill; expected one of the two")
        for name in self.pools or [""]:
            if not NAME.fullmatch(name):
                raise InputError(
                    f"cluster.pools: {name!r} found; expected tables with names of letters, digits, - and _, with a"
                    " letter first, such as [cluster.pools.large]"
                )
        return self

    @property
    def disaggregated(self) -> bool:
        """Whether prompts are computed elsewhere than decodes."""
        return self.prefill is not None

    @property
    def total_replicas(self) -> int:
        """Replicas in all roles, at the start."""
        return sum(pool.replicas for pool in self.named_pools.values()) or self.replicas

    @property
    def named_pools(self) -> dict[str, PoolSpec]:
        """The pools that are given one by one, by their names; none where all replicas are alike."""
        if self.prefill is not None and self.decode is not None:
            return {"prefill": self.prefill, "decode": self.decode}
        return dict(self.pools or {})

    def key(self, name: str) -> str:
        """Return the key of a pool by its name."""
        return f"cluster.pools.{name}" if name in (self.pools or {}) else f"cluster.{name}"

    def bounds(self, policy: Policy) -> list[Bounds]:
        """Return the bounds of each pool, prefill first."""
        shared = self.scaling
        return [
            Bounds(
                self.key(name),
                pool.replicas,
                shared.min_replicas if pool.min_replicas is None else pool.min_replicas,
                pool.max_replicas or shared.max_replicas,
                pool.scaling or policy.scaling,
            )
            for name, pool in self.named_pools.items()
        ] or [Bounds("cluster", self.replicas, shared.min_replicas, shared.max_replicas, policy.scaling)]

    def check_replicas(self, policy: Policy) -> None:
        """Raise InputError where scaling cannot be, and for faults of replicas that never are."""
        places = 0
        if self.scaling.max_gpus is not None and not self.pools:
            raise InputError(
                "cluster.scaling.max_gpus: given without cluster.pools; expected cluster.scaling.max_replicas to bound"
                " pools that are alike"
            )
        for each in self.bounds(policy):
            idle = each.policy.name == IDLE_POLICY["scaling"]
            if idle and not each.replicas:
                raise InputError(
                    f"{each.key}.replicas: expected a number >= 1 in a pool that is not scaled, got 0"
                )
            places += each.replicas if idle else _places(each, policy)
        for event in self.faults.events:
            if event.replica >= places:
                raise InputError(
                    f"cluster.faults.events: there is no replica {event.replica}; expected a number from 0 to"
                    f" {places - 1}"
                )


def _places(pool: Bounds, policy: Policy) -> int:
    """Return how many replicas a pool that is scaled may have."""
    name, least, most = pool.policy.name, pool.min_replicas, pool.max_replicas
    if policy.roles.name != IDLE_POLICY["roles"]:
        raise InputError(
            f"policy.roles: {policy.roles.name!r} together with scaling {name!r}, which has pools of its own size;"
            f" expected {IDLE_POLICY['roles']!r}, or policy.scaling = {IDLE_POLICY['scaling']!r}"
        )
    if most is None:
        raise InputError(f"cluster.scaling.max_replicas: missing; expected beside scaling by {name!r}")
    if least > most:
        raise InputError(
            f"cluster.scaling.min_replicas: {least} in {pool.key}; expected at most max_replicas = {most}"
        )
    if not least <= pool.replicas <= most:
        raise InputError(
            f"{pool.key}.replicas: {pool.replicas} at the start; expected from min_replicas = {least} to"
            f" max_replicas = {most}"
        )
    return most
