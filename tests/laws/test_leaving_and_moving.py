"""Clients that leave while their requests are moved, on an engine where those end with their next token (SGLang)."""

import random

import numpy as np
import pytest

from simulator.cluster.deployment import Deployment, Link, MoveCosts, Pool, Scaling
from simulator.replica.limits import Limits
from simulator.scenario.discover import load
from simulator.workload.workload import Workload
from tests.cluster_cases import Fickle, Often, play
from tests.engine_cases import EvenCost, native
from tests.laws.test_cluster_laws import check


def deployment(draw: random.Random, overlap: bool) -> tuple[Workload, Deployment]:
    """Two or three small replicas, requests that are moved all the time, and clients that leave soon."""

    def scheduler():
        policy = load("scheduling", "sglang")
        return policy(disable_radix_cache=True, disable_overlap_schedule=not overlap, ignore_eos=True)

    n = 28
    arrival_s = np.cumsum([draw.choice([0, 0, 0.25, 0.25, 1]) for _ in range(n)])
    prompts = np.array([draw.choice([1, 1, 1, 4, 6]) for _ in range(n)])
    outputs = np.array([draw.choice([1, 1, 2, 5, 6]) for _ in range(n)])
    leave_s = np.where([draw.random() < 0.7 for _ in range(n)], arrival_s + draw.choice([0.05, 0.3]), np.nan)
    traffic = Workload(
        "leaving", arrival_s - arrival_s[0], prompts, outputs, 6, "a test", leave_s=leave_s - arrival_s[0]
    )
    limits = Limits(draw.choice([1, 1, 2, 3]), draw.choice([1, 2, 8]), 12, draw.choice([14, 20]), 1)
    pool = Pool(scheduler, EvenCost(), limits, 2, rules=native(scheduler))
    if draw.random() < 0.7:
        pool = pool._replace(scaling=Scaling(Fickle(draw), 0, draw.choice([2, 3]), 0.0, 0.0))
    link = Link(draw.choice([1e4, 1e4, 1e6]), 0.0, 1024, connected=False)
    moves = MoveCosts(draw.choice([0.0, 0.02]), 0.0)
    router = load("routing", "least_loaded")()
    return traffic, Deployment([pool], router, migration=Often(draw), link=link, moves=moves, seed=0)


@pytest.mark.parametrize("overlap", [False, True])
def test_laws_hold_where_clients_leave_while_their_requests_move(overlap):
    for seed in range(60):
        traffic, deployed = deployment(random.Random(seed), overlap)
        check(traffic, deployed, *play(traffic, deployed))
