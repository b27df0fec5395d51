"""The replicas of a deployment's pools, made one by one, and many jobs submitted to them at once."""

from collections.abc import Callable, Sequence
from functools import partial

from simulator.clock import Clock
from simulator.cluster.deployment import Deployment
from simulator.cluster.slowable import SlowableCost
from simulator.replica.effects import Effects
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.state import ReplicaState


def replicas_of(
    deployment: Deployment, clock: Clock, engine: Callable[..., Engine], effects: Effects
) -> list[Replica]:
    """Return the replicas of all pools, those included that are not there at the start.

    ``engine(limits, policy, rules, **parts)`` makes a replica's engine.
    """
    share = deployment.moves.gpu_share if deployment.migrating else 0.0
    replicas: list[Replica] = []
    for pool in deployment.pools:
        for place in range(pool.places):
            replica = Replica(
                clock,
                pool.scheduler,
                SlowableCost(pool.cost, share) if deployment.faults.events or share else pool.cost,
                partial(engine, pool.limits, speculation=pool.speculation),
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
