"""Clusters of which everything can be worked out by hand: steps of a second, links of whole tokens a second."""

import numpy as np

from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import Deployment, HandOff, Link, Pool
from simulator.cluster.simulate import Outcome
from simulator.policy import Move
from simulator.replica.limits import Limits
from simulator.workload.workload import Workload
from tests.cluster_cases import KV_BYTES
from tests.engine_cases import EvenCost, native
from tests.laws.test_cluster_laws import check

SECOND = EvenCost(1.0)
ROOMY = Limits(64, 4096, 4096, 10_000, 16)


def tight(blocks, seqs=64):
    """Limits with so many usable blocks of four tokens (one more is never handed out)."""
    return Limits(seqs, 4096, 4096, blocks + 1, 4)


def synchronous():
    return VllmV1(async_scheduling=False)


def link(tokens_per_s, latency_s=0.0):
    return Link(tokens_per_s * KV_BYTES, latency_s, KV_BYTES)


class First:
    """Sends everything to the first replica that is up."""

    def route(self, job, replicas, draw):
        return 0


class MoveOnce:
    """Moves the request that has run longest on the first replica to the second, at one look."""

    def __init__(self, interval_s, look=1, request=0):
        self.interval_s, self.look, self.request = interval_s, look, request
        self.looks_s = []

    def moves(self, replicas, now_s):
        self.looks_s.append(now_s)
        if len(self.looks_s) != self.look:
            return []
        return [Move(job, 0, 1) for job in replicas[0].running if job.id == self.request]


def traffic(arrivals, prompts, outputs, **more):
    return Workload("test", np.array(arrivals, float), prompts, outputs, max(outputs), "a test", **more)


def together(replicas=2, *, limits=ROOMY, policy=synchronous, cost=SECOND, router=None, speed=24, **more):
    """Replicas that compute prompts and decode."""
    pool = Pool(policy, cost, limits, replicas, rules=native(policy))
    return Deployment([pool], router or First(), link=link(speed), **more)


def apart(
    prefill=1,
    decode=1,
    *,
    limits=(ROOMY, ROOMY),
    policies=(synchronous, synchronous),
    costs=(SECOND, SECOND),
    when_full="wait",
    layers=0,
    early=False,
    speed=10,
    latency_s=0.0,
    first_token="prefill",
    hand_over=None,
    costs_of_link=None,
    ranks=(1, 1),
    **more,
):
    """Prefill replicas, which come first, and decode replicas; ``hand_over`` and ``costs_of_link`` are more fields."""
    pools = [
        Pool(policies[0], costs[0], limits[0], prefill, "prefill", rules=native(policies[0]), ranks=ranks[0]),
        Pool(policies[1], costs[1], limits[1], decode, "decode", rules=native(policies[1]), ranks=ranks[1]),
    ]
    rule = HandOff(
        **{"router": RoundRobin(), **(hand_over or {})},
        when_full=when_full, early=early or layers > 0, layers=layers, first_token=first_token,
    )  # fmt: skip
    wire = link(speed, latency_s)._replace(**costs_of_link or {})
    return Deployment(pools, RoundRobin(), link=wire, hand_off=rule, **more)


def serve(requests, deployment, looks=None) -> Outcome:
    """Simulate and check the laws; ``looks`` are functions of the cluster to call, by time."""
    cluster = engine.assemble(requests, deployment)
    for time_s, look in (looks or {}).items():
        cluster.clock.at(time_s).callbacks.append(lambda _, look=look: look(cluster))
    interrupted, stalled = engine.play(cluster)
    tables, end_s = engine.unfold(cluster)
    outcome = Outcome(tables, end_s, interrupted, stalled, engine.prefix_hits(cluster))
    check(requests, deployment, cluster, outcome)
    return outcome


def decoded(*args, **more):
    """Prefill and decode replicas of which the latter give the first token, as in vLLM with NIXL."""
    return apart(*args, first_token="decode", **more)


def column(outcome, name):
    """A column of the transfers."""
    return outcome.tables.transfers[name].tolist()


def ends(outcome):
    """Each request's state, its delivered tokens and its end."""
    table = outcome.tables.requests
    names = ("state", "delivered_tokens", "end_s")
    return list(zip(*(table[name].tolist() for name in names), strict=True))


def used_blocks(requests, deployment, replica, moments):
    """The blocks in use at a replica at each of some moments, which are no step's ends."""
    seen = []

    def look(cluster):
        server_engine = cluster.replicas[replica].engine
        seen.append(server_engine.total_blocks - server_engine.free_blocks)

    serve(requests, deployment, dict.fromkeys(moments, look))
    return seen


def times(outcome, request):
    tokens = outcome.tables.tokens
    return tokens["generated_s"][tokens["request_id"] == request].tolist()


def places(outcome, request):
    """The replica of each of a request's tokens."""
    tokens = outcome.tables.tokens
    return tokens["replica"][tokens["request_id"] == request].tolist()


def transfers(outcome):
    """Each as request, source, destination, start, end, tokens and whether it arrived."""
    table = outcome.tables.transfers
    tokens = table["bytes"] / KV_BYTES
    names = ("request_id", "source", "destination", "start_s", "end_s")
    return list(zip(*(table[name].tolist() for name in names), tokens.tolist(), table["arrived"].tolist(),
                    strict=True))  # fmt: skip
