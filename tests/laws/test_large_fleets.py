"""Law: in fleets of 40 and more replicas the least loaded is the one that looking at each would find.

A bound of a load that is too high shows only where there are many replicas that no router has looked at for long.
"""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.least_loaded import LeastLoaded
from simulator.workload.workload import Workload
from tests.cluster_cases import Often, deployments, play
from tests.engine_cases import EvenCost
from tests.examples import examples
from tests.small_clusters import apart, serve, traffic, transfers

REQUESTS = 400


class LookingAtAll:
    """Looks at each replica, every time."""

    def route(self, job, replicas, draw):
        loads = [each.outstanding_tokens for each in list(replicas)]
        return loads.index(min(loads))


@st.composite
def large(draw):
    """A deployment of many replicas and traffic for all of them, with two routers that should agree."""
    small, deployment = draw(
        deployments(modes=["plain", "tight", "faults", "abandonment", "migration", "sessions"])
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    rows = rng.integers(0, len(small), REQUESTS)
    gaps_s = rng.choice([0.0, 0.001, 0.004, 0.25], REQUESTS, p=draw(st.sampled_from([
        [0.1, 0.4, 0.5, 0.0], [0.5, 0.2, 0.2, 0.1], [0.9, 0.0, 0.0, 0.1],
    ])))  # fmt: skip
    traffic = Workload(
        "test",
        np.cumsum(gaps_s),
        small.prompt_tokens[rows],
        small.output_tokens[rows],
        small.max_tokens,
        "a test",
        priority=small.priority[rows],
        concurrency=draw(st.sampled_from([None, None, None, 120])),
    )
    replicas = draw(st.integers(40, 60))
    pools = [pool._replace(replicas=replicas) for pool in deployment.pools]
    seed, migrating = draw(st.integers(0, 2**20)), deployment.migration is not None
    return traffic, [
        deployment._replace(
            pools=pools,
            router=router(),
            migration=Often(random.Random(seed)) if migrating else None,
        )
        for router in (LeastLoaded, LookingAtAll)
    ]


@given(large())
@settings(max_examples=examples(25), deadline=None)
def test_the_least_loaded_of_many_is_the_least_loaded_of_all(case):
    traffic, (few_looks, all_looks) = case
    found, expected = (play(traffic, each)[1].tables for each in (few_looks, all_looks))
    for table in ("requests", "steps", "transfers"):
        mine, other = getattr(found, table), getattr(expected, table)
        for column in mine:
            assert np.array_equal(mine[column], other[column], equal_nan=mine[column].dtype.kind == "f"), (
                column
            )


def test_of_many_decode_replicas_it_is_too():
    """Every other client leaves before its answer ends, so that a bound which is not forgotten then is too high."""
    rng = np.random.default_rng(5)
    arrival_s, outputs = np.cumsum(rng.exponential(0.02, 200)), rng.integers(2, 60, 200).tolist()
    leave_s = rng.choice([1.3, 2.6, 1e6], 200)  # after they came
    requests = traffic(arrival_s, [8] * 200, outputs, leave_s=leave_s)
    found, expected = (
        serve(
            requests,
            apart(2, 20, costs=(EvenCost(0.01), EvenCost(1.0)), speed=1e6, hand_over={"router": router}),
        )
        for router in (LeastLoaded(), LookingAtAll())
    )
    assert transfers(found) == transfers(expected)
