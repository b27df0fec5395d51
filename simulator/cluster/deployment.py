"""What is deployed: pools of replicas, the policies above them, links and faults. Objects, not names."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from simulator.cluster.grading import Grading
from simulator.cluster.policy import Abandonment, Admission, Migration, Roles, Router, Scaler
from simulator.replica.cost import CostModel, StepShape
from simulator.replica.kv_tier import TiersPlan
from simulator.replica.limits import Limits
from simulator.replica.offer import NO_OFFER, Offer
from simulator.replica.policy import Scheduler
from simulator.replica.reading import ReadingCurve
from simulator.replica.replica import Role
from simulator.replica.rules import DEFAULT_RULES, EngineRules
from simulator.replica.sm_split import DEFAULT_SPLIT, SmSplit
from simulator.replica.speculation import Speculation
from simulator.results.delivery import Delivery

FirstToken = Literal["decode", "prefill"]
Wires = Callable[[StepShape], tuple[float, float]]  # seconds of a step alone that it sends, and receives
WhenFull = Literal["wait", "recompute", "colocate", "evict"]


class Scaling(NamedTuple):
    """How many replicas a pool has is its policy's to say, within bounds; a new one takes its time."""

    policy: Scaler
    min_replicas: int
    max_replicas: int
    provision_s: float = 0.0  # from the order until the machine is there, and from then on paid for
    load_s: float = 0.0  # from then until it takes requests
    gpus: int = 1  # of a replica


class Pool(NamedTuple):
    """Identical replicas; those of a pool with a name in its offer may be unlike those of others."""

    scheduler: Callable[[], Scheduler]  # makes one policy for each replica
    cost: CostModel
    limits: Limits
    replicas: int = 1  # with scaling: at the start
    role: Role = "both"
    scaling: Scaling | None = None
    rules: EngineRules = DEFAULT_RULES
    ranks: int = 1  # GPUs of a replica
    speculation: Speculation | None = None
    sm_split: SmSplit = DEFAULT_SPLIT  # for policies that split the SMs
    lockstep: int = 1  # so many replicas in a row are ranks that step together
    offer: Offer = NO_OFFER
    step_jitter: float = 0.0  # standard deviation of the factor by which each step varies
    on_wires_s: Wires | None = None  # over the ports that KV caches travel on; None: steps do not use them

    @property
    def places(self) -> int:
        """How many replicas there can be at once."""
        return self.replicas if self.scaling is None else self.scaling.max_replicas


class Link(NamedTuple):
    """What KV caches travel on: each GPU of a replica has a port, as fast in either direction.

    A transfer takes latency + set-up + descriptors x the time of one + bytes / rate, seconds.
    """

    bytes_per_s: float = 50e9  # of a port, as transfers achieve it
    latency_s: float = 5e-6
    kv_bytes_per_token: int = 131_072  # that a request's KV cache takes
    setup_s: float = 0.0  # of each transfer
    descriptor_s: float = 0.0  # of each piece of memory that a GPU posts
    descriptors_per_block: int = 1  # pieces in a KV block of one GPU
    handshake_s: float = 0.0  # of two replicas that were not connected
    connected: bool = True  # whether those that are there at the start are


class HandOff(NamedTuple):
    """How a prefill replica hands requests over; ``router`` chooses the decode replica."""

    router: Router
    when_full: WhenFull = "wait"
    early: bool = False  # whether the KV of each chunk is sent when it is computed, not all of it in the end
    layers: int = 0  # in which a chunk is sent while it is computed; 0: after it
    first_token: FirstToken = "decode"  # the side whose first token the client gets
    routing_s: float = 0.0  # from the prompt's end until the decode replica has the request
    hold_s: float = math.inf  # how long blocks are held for a request that is not pulled
    when_expired: Literal["fail", "recompute"] = "fail"


class MoveCosts(NamedTuple):
    """What a live migration costs beside the transfers."""

    handshake_s: float = 0.0  # before each stage, and once while the request stands still
    gpu_share: float = 0.0  # by which steps on both sides are longer meanwhile


class Fault(NamedTuple):
    """A replica crashes, or steps or its link are ``factor`` times slower, from ``at_s`` for ``for_s`` seconds."""

    kind: Literal["crash", "slow", "link"]
    replica: int
    at_s: float
    for_s: float
    factor: float = 2.0


class Faults(NamedTuple):
    """Faults at given times, and crashes at random; what becomes of a crashed replica's requests."""

    events: Sequence[Fault] = ()
    mtbf_s: float = math.inf  # mean time between the crashes of each replica
    repair_s: float = 60.0
    retries: int = 3  # how often a request is computed again elsewhere before it fails

    @property
    def any(self) -> bool:
        """Whether anything goes wrong."""
        return bool(self.events) or self.mtbf_s < math.inf


class Deployment(NamedTuple):
    """Everything that serves; a workload beside it is a simulation.

    There is one pool of role "both", or one of role "prefill" and one of role "decode" in this order, or several of
    role "both" whose offers have names.
    """

    pools: Sequence[Pool]
    router: Router
    admission: Admission | None = None
    abandonment: Abandonment | None = None
    migration: Migration | None = None
    roles: Roles | None = None
    delivery: Delivery | None = None
    link: Link = Link()
    moves: MoveCosts = MoveCosts()
    grading: Grading | None = None  # with pools whose models' quality is known
    hand_off: HandOff | None = None  # with pools of prefill and decode replicas
    faults: Faults = Faults()
    max_gpus: int | None = None  # that the pools which are scaled hold at once; None: no bound
    tiers: TiersPlan | None = (
        None  # of KV beyond the GPU; replicas then have a prefix cache and stay as they are
    )
    frontend_s: float = 0.0  # constant time between the generation of a token and its delivery
    frontend_request_s: float = 0.0  # in which an API server reads a request, alone; one server a replica
    pace_s: float = 0.05  # V: readers take a token every so many seconds,
    allowance_s: float = 0.0  # S: beginning so long after their request's arrival
    curve: ReadingCurve | None = None  # how they go through an answer; None: token by token, steadily
    # Optional fields of requests that do not say them, such as ``tpot_slo_s``; those that are not here stay NEVER
    promised: Mapping[str, float] = {}
    thinking_share: float = 0.0  # of outputs that is not read, where a request says nothing of it
    seed: int = 0
    horizon_s: float | None = None

    @property
    def disaggregated(self) -> bool:
        """Whether prompts are computed elsewhere than decodes."""
        return any(pool.role == "prefill" for pool in self.pools)

    @property
    def apart(self) -> bool:
        """Whether replicas can be simulated apart: no policy looks at them, and they share no pass and no KV."""
        alone = all(pool.lockstep == 1 for pool in self.pools)
        return self.admission is None and self.tiers is None and alone

    @property
    def mixed(self) -> bool:
        """Whether replicas may be unlike, so that a request may be served by some of them only."""
        return any(pool.offer.pool for pool in self.pools)

    @property
    def cascading(self) -> bool:
        """Whether requests are asked of one model after another."""
        return self.mixed and self.grading is not None and bool(getattr(self.router, "cascades", False))

    @property
    def migrating(self) -> bool:
        """Whether requests may migrate."""
        return self.migration is not None and self.migration.interval_s < math.inf

    @property
    def moving(self) -> bool:
        """Whether KV caches go from replica to replica."""
        return self.disaggregated or self.migrating

    @property
    def shares_wires(self) -> bool:
        """Whether steps take part of what KV caches travel on."""
        return self.moving and any(pool.on_wires_s is not None for pool in self.pools)

    @property
    def on_wires_s(self) -> list[Wires | None]:
        """That of each replica's pool."""
        return [pool.on_wires_s for pool in self.pools for _ in range(pool.places)]

    @property
    def speculating(self) -> bool:
        """Whether any pool decodes with drafts."""
        return any(pool.speculation is not None for pool in self.pools)

    @property
    def stores_together(self) -> bool:
        """Whether replicas find KV that others have stored."""
        return self.tiers is not None and self.tiers.shared

    @property
    def changing(self) -> bool:
        """Whether replicas may come and go."""
        return self.faults.any or self.scaled

    @property
    def scaled(self) -> bool:
        """Whether any pool is scaled."""
        return any(pool.scaling is not None for pool in self.pools)

    @property
    def switching(self) -> bool:
        """Whether replicas may change their roles."""
        return self.roles is not None and self.roles.interval_s < math.inf

    @property
    def replicas(self) -> int:
        """Replicas in all pools, at most."""
        return sum(pool.places for pool in self.pools)

    @property
    def later(self) -> set[int]:
        """Which of them are not there at the start."""
        places = [place < pool.replicas for pool in self.pools for place in range(pool.places)]
        return {index for index, there in enumerate(places) if not there}

    @property
    def ranks(self) -> list[int]:
        """GPUs of each of them."""
        return [pool.ranks for pool in self.pools for _ in range(pool.places)]


def colocated(
    scheduler: Callable[[], Scheduler],
    cost: CostModel,
    limits: Limits,
    router: Router,
    *,
    replicas: int = 1,
    lockstep: int = 1,
    rules: EngineRules = DEFAULT_RULES,
    speculation: Speculation | None = None,
    frontend_s: float = 0.0,
    seed: int = 0,
    horizon_s: float | None = None,
) -> Deployment:
    """Return the common case: identical replicas that compute prompts and decode."""
    pool = Pool(scheduler, cost, limits, replicas, rules=rules, speculation=speculation, lockstep=lockstep)
    return Deployment([pool], router, frontend_s=frontend_s, seed=seed, horizon_s=horizon_s)
