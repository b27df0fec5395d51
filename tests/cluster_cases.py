"""Random deployments: disaggregated, migrating, faulty, dropping, in sessions, and mixtures of all that."""

import dataclasses
import random

import numpy as np
from hypothesis import strategies as st

from simulator.cluster import simulate as engine
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import Deployment, Fault, Faults, HandOff, Link, MoveCosts, Pool, Scaling
from simulator.cluster.simulate import Outcome
from simulator.policy import Move
from simulator.replica.state import ReplicaState
from simulator.scenario.discover import discover, load
from simulator.workload.workload import Workload
from tests.engine_cases import CHOICES, ROUTING, native, scenarios

MODES = (
    "plain",
    "tight",
    "disaggregated",
    "faults",
    "abandonment",
    "migration",
    "sessions",
    "scaling",
    "mixed",
)
NEEDS = {"missed_slo": {"ttft_s": 0.8, "token_deadlines": True}}  # policies without a default for everything
KV_BYTES = 1024  # of a token


class Often:
    """Moves any decoding request anywhere, whenever it is asked."""

    interval_s = 0.31

    def __init__(self, draw):
        self.draw = draw

    def moves(self, replicas, now_s):
        return [
            Move(job, source, self.draw.randrange(len(replicas)))
            for source, replica in enumerate(replicas)
            for job in replica.running
            if self.draw.random() < 0.5
        ]


class Restless:
    """Changes a replica's role whenever it is asked."""

    interval_s = 0.53

    def __init__(self, draw):
        self.draw = draw

    def switch(self, prefill, decode, now_s):
        side = prefill if self.draw.random() < 0.5 else decode
        return side[
            min(self.draw.randrange(len(side)), len(side) - 1)
        ]  # a copy of Hypothesis' may draw its end


class Fickle:
    """Wants any number of replicas whenever it is asked."""

    interval_s = 0.37

    def __init__(self, draw):
        self.draw = draw

    def target(self, pool, now_s):
        assert all(each.state is ReplicaState.SERVING for each in pool.replicas)
        return self.draw.randrange(-1, 6)


def _scaled(draw, draws, pool):
    least = draw(st.integers(0, pool.replicas))
    most = draw(st.integers(pool.replicas, 4))
    delays = st.sampled_from([0.0, 0.2, 1.0])
    return pool._replace(scaling=Scaling(Fickle(draws), least, most, draw(delays), draw(delays)))


def _any(draw, kind):
    name = draw(st.sampled_from([*discover(kind), *discover(kind), "none"]))
    return None if name == "none" else load(kind, name)(**NEEDS.get(name, {}))


@st.composite
def deployments(draw, choices=tuple(CHOICES), modes=MODES):
    """A workload and a deployment that serves it."""
    mode = draw(st.sampled_from(modes))
    case = draw(scenarios(choices, tight=mode == "tight"))
    on = {mode} if mode != "mixed" else set(draw(st.sets(st.sampled_from(MODES[2:-1]), min_size=2)))
    if mode == "scaling" and draw(st.booleans()):
        on.add("migration")  # away from replicas that drain
    traffic, seed = case["workload"], draw(st.integers(0, 2**20))
    replicas = case["replicas"]
    parts = {"router": load("routing", case["routing"])(), "seed": seed, "horizon_s": case["horizon_s"]}
    pool = Pool(case["policy"], case["cost"], case["limits"], replicas, rules=case["rules"])
    pools = [pool]
    # Not Hypothesis' own, whose copies give what the first one gave, whatever they are asked for
    draws = random.Random(draw(st.integers(0, 2**32 - 1)))
    if "disaggregated" in on:
        replicas = draw(st.integers(1, 2))
        blocks = case["limits"].num_gpu_blocks
        limits = case["limits"]._replace(num_gpu_blocks=draw(st.sampled_from([blocks, 2 * blocks])))
        other = draw(scenarios(choices))["policy"] if draw(st.booleans()) else case["policy"]
        splits = other().splits_prompts()
        if not splits and limits.max_num_batched_tokens < limits.max_model_len:
            other = case["policy"]
        pools = [
            pool._replace(replicas=replicas, role="prefill"),
            Pool(other, case["cost"], limits, draw(st.integers(1, 2)), "decode", rules=native(other)),
        ]
        parts["hand_off"] = HandOff(
            load("routing", draw(st.sampled_from(ROUTING)))(),
            draw(st.sampled_from(["wait", "recompute", "colocate", "evict"])),
            draw(st.booleans()),
            draw(st.sampled_from([0, 1, 4])),
            draw(st.sampled_from(["decode", "prefill"])),
            draw(st.sampled_from([0.0, 0.07])),
            draw(st.sampled_from([float("inf"), 0.5])),
            draw(st.sampled_from(["fail", "recompute"])),
        )
        ranks = draw(st.sampled_from([(1, 1), (1, 2), (4, 1)]))
        pools = [each._replace(ranks=n) for each, n in zip(pools, ranks, strict=True)]
        if "scaling" not in on and draw(st.booleans()) and sum(each.replicas for each in pools) > 2:
            parts["roles"] = Restless(draws)
    if "scaling" in on:
        pools = [_scaled(draw, draws, each) if draw(st.booleans()) else each for each in pools]
    count = sum(each.places for each in pools)
    if "faults" in on:
        moments = st.floats(0, 6)
        events = [
            Fault(
                draw(st.sampled_from(["crash", "crash", "slow", "link"])),
                draw(st.integers(0, count - 1)),
                draw(moments),
                draw(st.floats(0.1, 3)),
                draw(st.sampled_from([1.0, 2.5])),
            )
            for _ in range(draw(st.integers(0, 4)))
        ]
        mtbf_s = draw(st.sampled_from([float("inf"), 3.0]))
        parts["faults"] = Faults(events, mtbf_s, 0.7, draw(st.integers(0, 3)))
    if "abandonment" in on:
        parts["abandonment"] = load("abandonment", "missed_slo")(
            **draw(
                st.sampled_from([
                    {"ttft_s": 0.5}, {"token_deadlines": True}, {"e2e_s": 2.0},
                    {"ttft_s": 1.5, "token_deadlines": True, "grace_s": 0.1},
                ])
            )
        )  # fmt: skip
        parts["admission"] = _any(draw, "admission")
        parts["pace_s"] = draw(st.sampled_from([0.0, 0.02, 0.3]))
    if "migration" in on and count > 1:
        parts["migration"] = Often(draws)
        parts["moves"] = MoveCosts(draw(st.sampled_from([0.0, 0.02])), draw(st.sampled_from([0.0, 0.5])))
    if "sessions" in on:
        n = len(traffic.arrival_s)
        session = np.sort(np.array(draw(st.lists(st.integers(-1, 6), min_size=n, max_size=n))))
        think = np.array(draw(st.lists(st.sampled_from([np.nan, 0.0, 0.4]), min_size=n, max_size=n)))
        traffic = dataclasses.replace(traffic, session=session, think_s=think)
    parts["link"] = Link(
        draw(st.sampled_from([1e4, 1e6, 1e12])),
        draw(st.sampled_from([0.0, 0.01])),
        KV_BYTES,
        setup_s=draw(st.sampled_from([0.0, 0.003])),
        descriptor_s=draw(st.sampled_from([0.0, 0.001])),
        handshake_s=draw(st.sampled_from([0.0, 0.1])),
        connected=draw(st.booleans()),
    )
    return traffic, Deployment(pools, **parts)


def play(traffic: Workload, deployment: Deployment) -> tuple[Cluster, Outcome]:
    """Simulate; return what is left of the cluster beside the outcome."""
    cluster = engine.assemble(traffic, deployment)
    interrupted, stalled = engine.play(cluster)
    tables, end_s = engine.unfold(cluster)
    return cluster, Outcome(tables, end_s, interrupted, stalled)
