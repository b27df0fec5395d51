"""Steps and transfers on the same wires: a case by hand, and laws of random deployments."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster.shared_wires import SharedFabric, StepsAtPort
from tests.cluster_cases import deployments, play
from tests.engine_cases import CHOICES
from tests.examples import examples
from tests.laws.test_cluster_laws import check, same
from tests.small_clusters import apart, serve, synchronous, times, traffic, transfers

NEARLY = 1 + 1e-9


def wired(deployment, *on_wires_s):
    """The deployment, whose pools' steps are on the wires for so long."""
    pools = [pool._replace(on_wires_s=each) for pool, each in zip(deployment.pools, on_wires_s, strict=True)]
    return deployment._replace(pools=pools)


def constant(sends_s, receives_s):
    return lambda shape: (sends_s, receives_s)


def test_by_hand_what_one_gains_the_other_loses():
    """Steps of 1 s, half of it receiving; 20 tokens at 10 tokens/s.

    In 1 s the step gets ahead by 1/(1 + 1/2), the transfer by the two thirds of the port that are left: 3 s in place
    of 2. It holds the steps up by 3 x 1/3 s, each the next one: 1/3, 4/9 of the time of a longer one, the rest.
    """
    plain = apart(policies=(synchronous, synchronous))
    requests = traffic([0, 2], [10, 20], [8, 2])
    alone = serve(requests, plain)
    shared = serve(requests, wired(plain, None, constant(0.0, 0.5)))
    assert [each[4] for each in transfers(alone)] == [2.0, 5.0]
    assert [each[4] for each in transfers(shared)] == pytest.approx([2.0, 6.0])
    assert times(alone, 0) == [1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert times(shared, 0) == pytest.approx([1.0, 3.0, 4.0, 5 + 1 / 3, 6 + 7 / 9, 8.0, 9.0, 10.0])


@pytest.mark.parametrize("sends", [True, False])
def test_the_other_direction_is_free(sends):
    """What comes to the decode side and what it sends do not meet."""
    plain, requests = apart(policies=(synchronous, synchronous)), traffic([0, 2], [10, 20], [8, 2])
    given = constant(0.9, 0.0) if sends else constant(0.0, 0.9)
    outcome = serve(requests, wired(plain, None, given))
    assert (times(outcome, 0) == times(serve(requests, plain), 0)) == sends


def test_in_the_long_run_both_have_their_fair_share():
    """Nothing but communication beside a long transfer: half of the port each, all takes twice its time."""
    plain, requests = apart(policies=(synchronous, synchronous)), traffic([0, 2], [10, 400], [60, 2])
    busy = serve(requests, wired(plain, None, constant(1.0, 1.0)))
    gaps_s = np.diff(times(busy, 0))
    assert gaps_s[18:40] == pytest.approx(2.0, abs=1e-5)
    assert transfers(busy)[1][4] == pytest.approx(3 + 2 * 400 / 10)


@pytest.fixture
def watched(monkeypatch):
    """Assert at each change that ports carry what they can at most, and that no step is shorter than alone."""
    seen = {"shares": 0, "added_s": 0.0, "lost_s": 0.0}
    share, lasts_s, update = SharedFabric._share, StepsAtPort.lasts_s, SharedFabric.update

    def checking(fabric):
        share(fabric)
        for steps in fabric._active:
            gets_ahead = 1 - steps.loses
            least = 1.0
            for used, end in ((steps.sends, "source"), (steps.receives, "destination")):
                flows = [each.bytes_per_s for each in fabric._flows if getattr(each, end) == steps.port]
                taken = sum(flows) / fabric._bytes_per_s[steps.port]
                assert taken + used * gets_ahead <= NEARLY
                seen["shares"] += used * taken > 0
                least = min(least, 1 / (1 + used * sum(each > 0 for each in flows)))
            assert least / NEARLY <= gets_ahead <= 1  # no less than a fair share of what they want

    def timed(steps, shape, alone_s):
        found = lasts_s(steps, shape, alone_s)
        assert found >= alone_s
        seen["added_s"] += found - alone_s
        return found

    def counting(fabric):
        before = sum(steps.held_s for steps in fabric._active)
        update(fabric)
        seen["lost_s"] += sum(steps.held_s for steps in fabric._active) - before

    monkeypatch.setattr(SharedFabric, "_share", checking)
    monkeypatch.setattr(StepsAtPort, "lasts_s", timed)
    monkeypatch.setattr(SharedFabric, "update", counting)
    return seen


def cases():
    return st.sampled_from(["disaggregated", "migration", "mixed"]).flatmap(
        lambda mode: deployments(tuple(CHOICES), (mode,))
    )


def test_laws(watched):
    """Those of every cluster, and: no port carries more than it can, no step is shorter, no transfer faster."""

    @settings(max_examples=examples(30), deadline=None)
    @given(cases(), st.data())
    def law(case, data):
        plan, deployment = case
        shares = st.sampled_from([0.3, 1.0, 0.0])
        slow = deployment.link._replace(bytes_per_s=data.draw(st.sampled_from([2e4, 3e5])))
        deployment = deployment._replace(link=slow)
        pools = []
        for pool in deployment.pools:
            part, cost = (data.draw(shares), data.draw(shares)), pool.cost
            pools.append(lambda shape, part=part, cost=cost: tuple(cost.step_s(shape) * x for x in part))
        deployment = wired(deployment, *pools)
        cluster, outcome = play(plan, deployment)
        check(plan, deployment, cluster, outcome)
        link, moved = deployment.link, outcome.tables.transfers
        ports = np.array(deployment.ranks)
        slower = np.minimum(ports[moved["source"]], ports[moved["destination"]])
        least_s = np.where(moved["arrived"], moved["bytes"] / (link.bytes_per_s * slower), 0)
        hand_off = deployment.hand_off
        if hand_off is None or not hand_off.early:
            assert (moved["end_s"] - moved["start_s"] >= least_s / NEARLY - 1e-9).all()

    law()
    assert watched["shares"] > 0, "steps and transfers never met"
    assert 0 < watched["added_s"] <= watched["lost_s"] * NEARLY


@settings(max_examples=examples(25), deadline=None)
@given(cases())
def test_steps_that_are_on_no_wire_change_no_bit(case):
    plan, deployment = case
    nothing = wired(copy.deepcopy(deployment), *(constant(0.0, 0.0) for _ in deployment.pools))
    same(play(plan, deployment)[1].tables, play(plan, nothing)[1].tables)
