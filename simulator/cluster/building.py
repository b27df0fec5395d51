"""The replicas of a deployment's pools and their engines, made one by one, and many jobs submitted to them at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from simulator.blame import wrong_answer
from simulator.clock import Clock
from simulator.cluster.deployment import Deployment
from simulator.cluster.jitter import JitteredCost
from simulator.cluster.slowable import SlowableCost, WiredCost
from simulator.cluster.tiers import Tiers, content_of
from simulator.replica.adaptive_engine import AdaptiveEngine
from simulator.replica.content import Content
from simulator.replica.effects import Effects
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.kv import CountedBlocks, KvPool, PrefixCache
from simulator.replica.lanes import Lanes
from simulator.replica.late_prefix_blocks import LatePrefixBlocks
from simulator.replica.late_radix_pages import LateRadixPages
from simulator.replica.limits import Limits
from simulator.replica.lockstep import maker
from simulator.replica.pipeline_engine import PipelineEngine
from simulator.replica.policy import Scheduler
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.radix_pages import RadixPages
from simulator.replica.replica import Replica
from simulator.replica.rules import EngineRules
from simulator.replica.sm_split import DEFAULT_SPLIT, SmSplit
from simulator.replica.speculation import Speculation
from simulator.replica.state import ReplicaState
from simulator.replica.tree_engine import TreeEngine
from simulator.rng import draws
from simulator.workload.workload import Workload


def replicas_of(
    deployment: Deployment, clock: Clock, engine: Callable[..., Engine], effects: Effects
) -> list[Replica]:
    """Return the replicas of all pools, those included that are not there at the start.

    ``engine(limits, policy, rules, **parts)`` makes a replica's engine.
    """
    share = deployment.moves.gpu_share if deployment.migrating else 0.0
    slowable, moving = bool(deployment.faults.events or share), deployment.moving
    replicas: list[Replica] = []
    for pool in deployment.pools:
        make = maker(pool.cost, pool.lockstep)
        for place in range(pool.places):
            cost = pool.cost
            if pool.step_jitter:
                own = draws(deployment.seed, f"step jitter {len(replicas)}")
                cost = JitteredCost(cost, pool.step_jitter, own)
            if moving and pool.on_wires_s is not None:
                cost = WiredCost(cost, share)
            elif slowable:
                cost = SlowableCost(cost, share)
            replica = make(
                clock,
                pool.scheduler,
                cost,
                partial(engine, pool.limits, speculation=pool.speculation, sm_split=pool.sm_split),
                effects,
                rules=pool.rules,
                index=len(replicas),
                role=pool.role,
                state=ReplicaState.SERVING if place < pool.replicas else ReplicaState.ABSENT,
                offer=pool.offer,
            )
            replicas.append(replica)
    return replicas


def submit_placed(clock: Clock, replicas: Sequence[Replica], placed: Sequence[list[Job]]) -> None:
    """Submit jobs replica by replica: one that is served on its own stays in the processor's cache."""
    now_s = clock.now
    for replica, jobs in zip(replicas, placed, strict=True):
        for job in jobs:
            clock.advance_to(job.arrival_s)
            replica.submit(job)
        jobs.clear()
    clock.advance_to(now_s)


def engine_for(
    workload: Workload,
    limits: Limits,
    policy: Scheduler,
    rules: EngineRules,
    *,
    late: bool = False,
    tiers: Tiers | None = None,
    speculation: Speculation | None = None,
    sm_split: SmSplit = DEFAULT_SPLIT,
    **parts: Any,
) -> Engine:
    """Return a new engine with the blocks that a policy needs, under an engine's rules; ``parts`` as for ``Engine``.

    ``late``: requests can find nothing but their own blocks, after a preemption; ``tiers`` go behind its cache.
    """
    total_blocks, block_size = limits.num_gpu_blocks - rules.null_blocks, limits.block_size
    ahead = rules.pipeline_depth > 1

    def content(job: Job) -> Content:
        return content_of(workload, job.request.row)

    kv: KvPool
    cache: PrefixCache | None = None
    late_cache = None
    late = late and speculation is None and rules.stages == 1
    if policy.prefix_cache() == "radix" and late:
        pages = LateRadixPages(total_blocks, block_size, content)
        kv, cache, late_cache = pages, pages, pages.begin_in
    elif policy.prefix_cache() == "radix":
        kv = cache = RadixPages(total_blocks, block_size, content)
    elif policy.prefix_cache() == "blocks":
        pool = LatePrefixBlocks if late else PrefixBlocks
        blocks = pool(
            total_blocks, block_size, content, deferred=ahead, partial_first=rules.partial_blocks_first
        )
        if isinstance(blocks, LatePrefixBlocks):
            kv, late_cache = CountedBlocks(total_blocks, block_size), blocks.begin_in
        else:
            kv = cache = blocks
    else:
        kv = CountedBlocks(total_blocks, block_size)
    if tiers is not None and cache is not None:
        kv = cache = tiers.behind(cache, content, parts["price"])
    kind: type[Engine] = Engine
    if rules.stages > 1:
        kind = PipelineEngine
    elif speculation is not None:
        kind = AdaptiveEngine if speculation.adaptive else TreeEngine
    engine = kind(
        limits, kv, cache=cache, late_cache=late_cache, queue_key=_key_of(policy), whole=policy.reserves_whole,
        plans_ahead=ahead, drops_with_next_token=rules.drops_with_next_token, **parts,
    )  # fmt: skip
    engine.recomputes_as_prefill = rules.recomputes_as_prefill
    if isinstance(engine, TreeEngine) and speculation is not None:
        engine.speculate(speculation)
    if policy.splits_sms():
        engine.lanes = Lanes(engine, sm_split)
    if isinstance(engine, PipelineEngine):
        engine.begin()
    return engine


def _key_of(policy: Scheduler) -> Callable[[Job], Any] | None:
    key = policy.queue_key()
    if key is not None and not callable(key):
        raise wrong_answer("scheduling", policy.queue_key, key, "a function of a job, or None")
    return key
