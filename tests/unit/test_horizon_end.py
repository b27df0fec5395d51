"""At the horizon everything ends, however many steps a replica has still to compute up to there."""

import pytest

from policies.routing.round_robin import RoundRobin
from policies.scheduling.continuous import Continuous
from simulator.cluster.cluster import STEPS_BETWEEN_LOOKS
from simulator.cluster.deployment import colocated
from simulator.cluster.faults import Fault, Faults
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.cluster_cases import play
from tests.engine_cases import EvenCost, native, workload

HORIZON_S = 5.0


@pytest.mark.parametrize("kind", ["slow", "crash"])
def test_nothing_happens_after_the_horizon(kind):
    """Faults make every event one of the cluster's; those that come later are not played."""
    traffic = workload([0.0, 10.0], [20, 20], [9000, 5])

    def policy():  # that plans every step
        return Continuous(trigger="tbt", tbt_s=0.5)

    limits = Limits(4, 100, 9100, 2000, 16)
    pool = colocated(policy, EvenCost(0.001), limits, RoundRobin(), rules=native(policy))
    faults = Faults(events=[Fault(kind, 0, at_s, 1.0, 2.0) for at_s in (20.0, 30.0)])
    cluster, outcome = play(traffic, pool._replace(faults=faults, horizon_s=HORIZON_S))
    assert len(outcome.tables.steps["start_s"]) > 4 * STEPS_BETWEEN_LOOKS
    assert cluster.clock.now == HORIZON_S
    assert outcome.tables.tokens["generated_s"].max() < HORIZON_S
    assert outcome.tables.requests["state"].tolist() == [RequestState.UNFINISHED]
