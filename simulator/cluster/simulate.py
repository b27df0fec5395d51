"""From parts to tables: serve a workload on replicas and unfold what they recorded.

This is the level below a scenario: every part is an object that the caller made, so a study with a
cost model or policy of its own starts here.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.clock import Clock
from simulator.cluster.autoscaler import scaling_table
from simulator.cluster.building import engine_for
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import Deployment
from simulator.cluster.handing_over import HandsOver, can_fold
from simulator.cluster.shards import can_be_split, play_split
from simulator.cluster.tiers import Tiers, tier_rows
from simulator.errors import StallError
from simulator.replica.request import FIELDS
from simulator.replica.taking import pack
from simulator.results.collect import collect, readers_leave_s
from simulator.results.drafts import drafts_made
from simulator.results.folding import Fold, Handed
from simulator.results.grades import grades, of_readers
from simulator.results.recorded import ending_rows, hit_rows
from simulator.results.tables import (
    Incarnation,
    Tables,
    first_steps,
    last_event_s,
    request_table,
    step_columns,
    step_table,
)
from simulator.results.tokens import Delay
from simulator.results.transfer_table import transfer_table
from simulator.rng import stream
from simulator.workload.workload import Workload

# How often progress is told and a stop is noticed.
EVENTS_BETWEEN_LOOKS = 256
WORTH_SPLITTING = 2000  # requests: below that a process takes longer to start than it saves
SECONDS_BETWEEN_LOOKS = 0.03  # of the person's time, not of the simulation's


class PrefixHits(NamedTuple):
    """Known tokens that admissions sought in prefix caches, and found there.

    Those of requests that were preempted before are apart, as vLLM's ``PrefixCacheStats`` has it: they find their own
    blocks again, which is no sharing.
    """

    hit_tokens: int
    looked_up_tokens: int
    found_again_tokens: int = 0
    looked_up_again_tokens: int = 0


class Outcome(NamedTuple):
    """The tables of a simulation, and why it ended early if it did."""

    tables: Tables
    end_s: float  # the last event, or the horizon
    interrupted: bool = False
    stalled: str | None = None
    prefix_hits: PrefixHits | None = None  # as the function of that name
    tiers: list[dict[str, Any]] | None = None  # as ``tier_rows`` has it; None without any
    drafts: dict[str, Any] | None = None  # as ``drafts_made`` has it


def simulate(
    workload: Workload,
    deployment: Deployment,
    *,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    keep_steps: bool = True,
    processes: int = 1,
    fold: Fold | None = None,
) -> Outcome:
    """Serve ``workload`` and return its tables.

    ``on_progress`` gets simulated seconds, requests done and requests in all. The simulation ends with the
    last request, at the horizon, when ``should_stop`` says so, or when a policy makes no more progress
    (``Outcome.stalled`` then says how). With more than one process, replicas that need not know of one
    another are simulated at the same time, where that is worth it; the tables are the same.
    ``keep_steps`` as in ``unfold``. With ``fold`` all is handed to that, where it can be (``can_fold``).
    """
    cluster = assemble(workload, deployment)
    if fold is not None and not can_fold(cluster):
        fold = None
    if fold is not None:
        fold.begin(workload, cluster.frontend_s, deployment.horizon_s)
    if processes > 1 and len(workload) >= WORTH_SPLITTING and can_be_split(cluster):
        interrupted, stalled = play_split(cluster, processes, play, on_progress, should_stop, fold)
    else:
        interrupted, stalled = play(cluster, on_progress, should_stop, None if fold is None else fold.take)
    tables, end_s = unfold(cluster, keep_steps) if fold is None else _folded(cluster, fold)
    plan, caches = deployment.tiers, [each.engine.tiers for each in cluster.replicas]
    tiers = None if plan is None else tier_rows(plan, [each for each in caches if each is not None])
    hits = prefix_hits(cluster, None if fold is None else fold.found_tokens)
    return Outcome(tables, end_s, interrupted, stalled, hits, tiers, _drafts(cluster))


def assemble(workload: Workload, deployment: Deployment) -> Cluster:
    """Build the replicas and the traffic to them, ready to play."""
    clock = Clock()
    if deployment.horizon_s is not None:
        clock.stop_at(deployment.horizon_s)
    tiers = None if deployment.tiers is None else Tiers(workload, deployment.tiers)
    late = workload.segments is None and _stays(deployment) and tiers is None
    return Cluster(clock, workload, deployment, partial(engine_for, workload, late=late, tiers=tiers))


def _stays(deployment: Deployment) -> bool:
    """Whether no request comes back to a replica that it has left, and where it could find what it left there."""
    hand_off = deployment.hand_off
    ends = hand_off is None or (hand_off.when_full == "wait" and hand_off.when_expired == "fail")
    moves = deployment.migrating or deployment.faults.any or deployment.switching
    return ends and not moves and not (deployment.disaggregated and deployment.scaled)


def unfold(cluster: Cluster, keep_steps: bool = True) -> tuple[Tables, float]:
    """Turn what a cluster has recorded into tables; also return the time of the last event.

    Without ``keep_steps`` the tables have none; they make the steps anew, replica by replica, when asked.
    """
    cluster.close()
    workload, deployment, arrival_s = cluster.workload, cluster.deployment, cluster.traffic.arrival_s
    rows = of_requests = np.array(cluster.traffic.rows[: cluster.arrived], np.int64)
    number_of: Ints = np.zeros(0, np.int64)
    cascades = cluster.cascades
    if cascades is not None:  # a row for each call whose answer was turned down, after those of all requests
        number_of = np.array(cascades.number_of, np.int64)
        to_come = np.zeros(len(workload) - len(rows), np.int64)
        arrival_s = np.concatenate([arrival_s, to_come, cascades.asked_s])
        rows = np.concatenate([rows, to_come, rows[number_of]])
    lives = [
        Incarnation(server.index, each)
        for server in cluster.replicas
        for each in (*server.past, server.records)
    ]
    records = [life.records for life in lives]
    refused = ending_rows(cluster.refused)
    steps = step_table(lives) if keep_steps else step_columns(lives)
    rng = None if deployment.delivery is None else stream(deployment.seed, "delivery")
    until_s = readers_leave_s(
        len(rows), refused, records, _patience_ends_s(workload, rows, arrival_s), deployment.horizon_s
    )
    delay = Delay(cluster.frontend_s, deployment.delivery, rng)
    every, tokens = collect(
        lives, steps, first_steps(lives), len(rows), until_s, delay, deployment.speculating,
        None if cascades is None else len(of_requests),
    )  # fmt: skip
    arrived: Columns = {
        "arrival_s": arrival_s,
        "prompt_tokens": workload.prompt_tokens[rows].astype(np.int64),
        "output_tokens": workload.output_tokens[rows].astype(np.int64),
    }
    for name, field in FIELDS.items():
        if field.saved and name in workload.optional:
            arrived[name] = workload.optional[name][rows].astype(np.float64 if field.is_float else np.int64)
    if cluster.front_end.takes_time:
        arrived["read_s"] = np.full(len(rows), np.nan)
        for request, read_s in cluster.front_end.read:
            arrived["read_s"][request] = read_s
    requests = request_table(
        lives, refused, arrived, steps, every, until_s, deployment.horizon_s, cluster.clock.now
    )
    if deployment.grading is not None:
        places = np.repeat(np.arange(len(deployment.pools)), [pool.places for pool in deployment.pools])
        grading = deployment.grading
        said = grades(
            requests, number_of, len(workload), of_requests, grading.good, grading.usd_per_request, places
        )
        requests = of_readers(requests, number_of, len(of_requests), len(workload)) | said
    done = [] if cluster.kv_transfers is None else cluster.kv_transfers.done
    transfers = transfer_table(done, lives, steps, tokens)
    scaling = scaling_table(cluster.autoscalers.lifetimes)
    request_of = None if cascades is None else np.concatenate([np.arange(len(workload)), number_of])
    tables = Tables(steps if keep_steps else {}, tokens, requests, transfers, lives, scaling, request_of)
    return tables, last_event_s(requests, steps)


def _patience_ends_s(workload: Workload, rows: Ints, arrival_s: Floats) -> Floats | None:
    """When each client gives up, NaN for never; None if none ever does.

    Where a closed loop delays an arrival, the departure comes as much later.
    """
    leave_s = workload.optional.get("leave_s")
    if leave_s is None:
        return None
    return np.maximum(leave_s[rows] + (arrival_s - workload.arrival_s[rows]), arrival_s)


def _folded(cluster: Cluster, fold: Fold) -> tuple[Tables, float]:
    """Return the tables of a run that was folded, without steps, and the time of the last event."""
    requests, folded, end_s = fold.finish(cluster.clock.now)
    scaling = scaling_table(cluster.autoscalers.lifetimes)
    return Tables({}, folded, requests, {}, (), scaling), end_s


def prefix_hits(cluster: Cluster, found_tokens: Sequence[int] | None = None) -> PrefixHits | None:
    """Return what was found in prefix caches; None without such a cache.

    ``found_tokens``: by admissions, and by those after a preemption, where the records do not have that any more.
    """
    if all(each.policy.prefix_cache() is None for each in cluster.replicas):
        return None
    lives = [records for each in cluster.replicas for records in (*each.past, each.records)]
    found = [0, 0] if found_tokens is None else list(found_tokens)
    for records in lives if found_tokens is None else ():
        _, tokens, again = hit_rows(records)
        found[0] += int(tokens[again == 0].sum())
        found[1] += int(tokens[again == 1].sum())
    sought = sum(each.looked_up_tokens for each in lives), sum(each.looked_up_again_tokens for each in lives)
    return PrefixHits(found[0], sought[0], found[1], sought[1])


def _drafts(cluster: Cluster) -> dict[str, Any] | None:
    """What came of drafts; None without speculation."""
    if not cluster.deployment.speculating:
        return None
    return drafts_made(records for each in cluster.replicas for records in (*each.past, each.records))


def play(
    cluster: Cluster,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    take: Callable[[Handed], None] | None = None,
) -> tuple[bool, str | None]:
    """Run a cluster to its end; return whether it was interrupted, and how it stalled if it did.

    ``take`` gets what replicas record while they go on, and all of it in the end; None: they keep it.
    """
    if take is None:
        return _play(cluster, on_progress, should_stop, None)
    hand_over = HandsOver(cluster, take)
    ended = _play(cluster, on_progress, should_stop, hand_over)
    hand_over.finish()
    return ended


def _play(
    cluster: Cluster,
    on_progress: Callable[[float, int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    hand_over: HandsOver | None,
) -> tuple[bool, str | None]:
    clock, total = cluster.clock, len(cluster.workload)
    next_look, turn = 0.0, 0
    try:
        while cluster.advance(EVENTS_BETWEEN_LOOKS):
            if on_progress is not None and time.monotonic() > next_look:
                on_progress(clock.now, cluster.requests_done(), total)
                next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            if hand_over is not None:
                hand_over.after(EVENTS_BETWEEN_LOOKS)
            else:
                turn = (turn + 1) % len(cluster.replicas)
                pack(cluster.replicas[turn])
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
