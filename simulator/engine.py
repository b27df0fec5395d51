"""From parts to tables: serve a workload on replicas and unfold what they recorded.

This is the level below a scenario: every part is an object that the caller made, so a study with a
cost model or policy of its own starts here.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.books import Books
from simulator.clock import Clock
from simulator.cluster import Cluster
from simulator.cost import CostModel
from simulator.errors import StallError
from simulator.limits import Limits
from simulator.policy import Router, Scheduler
from simulator.prefix_cache import CachingBooks, Content, SharingBooks
from simulator.radix_cache import RadixBooks
from simulator.replica import Replica
from simulator.rng import stream
from simulator.tables import Columns, Tables, request_table, step_table, token_table
from simulator.workload.workload import Workload

# How often progress is told and a stop is noticed. An event may stand for many steps of a quiet replica.
EVENTS_BETWEEN_LOOKS = 256
SECONDS_BETWEEN_LOOKS = 0.03  # of the person's time, not of the simulation's


@dataclass(frozen=True)
class Outcome:
    """The tables of a simulation, and why it ended early if it did."""

    tables: Tables
    end_s: float  # the last event, or the horizon
    interrupted: bool = False
    stalled: str | None = None
    prefix_hits: tuple[int, int] | None = None  # as the function of that name


def simulate(
    workload: Workload,
    *,
    scheduler: Callable[[], Scheduler],
    cost: CostModel,
    limits: Limits,
    router: Router,
    replicas: int = 1,
    seed: int = 0,
    horizon_s: float | None = None,
    frontend_s: float = 0.0,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Serve ``workload`` and return its tables.

    ``scheduler`` makes one policy for each replica; ``frontend_s`` is the constant time between the
    generation of a token and its delivery. ``on_progress`` gets simulated seconds, requests done and
    requests in all. The simulation ends with the last request, at ``horizon_s``, when ``should_stop``
    says so, or when the policy makes no more progress (``Outcome.stalled`` then says how).
    """
    cluster = assemble(
        workload,
        scheduler,
        cost,
        limits,
        router=router,
        replicas=replicas,
        seed=seed,
        horizon_s=horizon_s,
        frontend_s=frontend_s,
    )
    interrupted, stalled = play(cluster, on_progress, should_stop)
    tables, end_s = unfold(cluster)
    return Outcome(tables, end_s, interrupted, stalled, prefix_hits(cluster))


def assemble(
    workload: Workload,
    scheduler: Callable[[], Scheduler],
    cost: CostModel,
    limits: Limits,
    *,
    router: Router,
    replicas: int = 1,
    seed: int = 0,
    horizon_s: float | None = None,
    frontend_s: float = 0.0,
) -> Cluster:
    """Build the replicas and the traffic to them, ready to play; the arguments are those of ``simulate``."""
    clock = Clock()
    if horizon_s is not None:
        clock.stop_at(horizon_s)
    policies = [scheduler() for _ in range(replicas)]
    servers = [Replica(clock, policy, cost, books_for(policy, limits, workload)) for policy in policies]
    draw = random.Random(int(stream(seed, "routing").integers(2**63)))
    return Cluster(clock, workload, servers, router, draw, limits, policies[0].overrun_tokens, frontend_s)


def unfold(cluster: Cluster) -> tuple[Tables, float]:
    """Turn what a cluster has recorded into tables; also return the time of the last event."""
    for server in cluster.replicas:
        server.books.close(len(server.under_way))
    workload, n = cluster.workload, cluster.arrived
    records = [server.records for server in cluster.replicas]
    steps = step_table(records)
    tokens = token_table(records, steps, cluster.frontend_s)
    last_s = max(float(steps["end_s"].max(initial=0.0)), float(tokens["delivered_s"].max(initial=0.0)))
    if cluster.requests_done() < n:  # somebody waits on until the clock is stopped
        last_s = max(last_s, cluster.clock.now)
    arrived: Columns = {
        "arrival_s": np.array(cluster.arrival_s, np.float64),
        "prompt_tokens": workload.prompt_tokens[:n],
        "output_tokens": workload.output_tokens[:n],
    }
    if workload.priority is not None:
        arrived["priority"] = workload.priority[:n]
    return Tables(
        steps, tokens, request_table(records, cluster.refused, arrived, steps, tokens, last_s)
    ), last_s


def prefix_hits(cluster: Cluster) -> tuple[int, int] | None:
    """Known tokens found in prefix caches at admissions, and those looked up; None without such a cache."""
    caches = [each.books for each in cluster.replicas if isinstance(each.books, SharingBooks)]
    if not caches:
        return None
    return sum(each.hit_tokens for each in caches), sum(each.looked_up_tokens for each in caches)


def books_for(policy: Scheduler, limits: Limits, workload: Workload) -> Books:
    """Return new books of the kind that a policy needs."""
    if policy.prefix_cache() is None:
        return Books(limits, null_blocks=policy.null_blocks, queue_key=policy.queue_key())

    def content(request_id: int) -> Content:
        if workload.segments is None or workload.output_stream is None:
            return Content((), -1 - request_id)  # nothing in common with anybody
        return Content(workload.segments[request_id], int(workload.output_stream[request_id]))

    if policy.prefix_cache() == "radix":
        return RadixBooks(
            limits, null_blocks=policy.null_blocks, queue_key=policy.queue_key(), content=content
        )
    return CachingBooks(
        limits,
        null_blocks=policy.null_blocks,
        queue_key=policy.queue_key(),
        content=content,
        deferred=policy.pipeline_depth() > 1,
        partial_first=policy.reuses_partial_blocks_first(),
    )


def play(
    cluster: Cluster,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[bool, str | None]:
    """Run a cluster to its end; return whether it was interrupted, and how it stalled if it did."""
    clock, total = cluster.clock, len(cluster.workload)
    next_look = 0.0
    try:
        while clock.run_some(EVENTS_BETWEEN_LOOKS):
            if on_progress is not None and time.monotonic() > next_look:
                on_progress(clock.now, cluster.requests_done(), total)
                next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            if should_stop is not None and should_stop():
                return True, None
    except StallError as error:
        return False, str(error)
    if on_progress is not None:
        on_progress(clock.now, cluster.requests_done(), total)
    for server in cluster.replicas:
        if server.outstanding_requests and not clock.stopped:
            return False, server.stall("never schedules")
    return False, None
