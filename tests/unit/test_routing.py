"""The rules of the routers."""

import random

import numpy as np
import pytest

from policies.routing.prefix_affinity import PrefixAffinity
from policies.routing.random import Random
from policies.routing.round_robin import RoundRobin
from policies.routing.session_affinity import SessionAffinity
from policies.routing.slo_aware import SloAware
from simulator.scenario.discover import discover, load
from tests.policy_views import View, request


def test_random_uses_every_replica_about_evenly():
    draw = random.Random(1)
    chosen = [Random().route(request(), [View()] * 4, draw) for _ in range(4000)]
    counts = np.bincount(chosen, minlength=4)
    assert (abs(counts - 1000) < 120).all()


def test_round_robin_survives_a_crash():
    router = RoundRobin()
    assert [router.route(request(), [View()] * 3, None) for _ in range(3)] == [0, 1, 2]
    assert [router.route(request(), [View()] * 2, None) for _ in range(3)] == [1, 0, 1]
    router = RoundRobin()
    for size in (5, 5, 5, 5, 2, 1, 3):
        assert router.route(request(), [View()] * size, None) in range(size)


@pytest.mark.parametrize("name", ["random", "round_robin"])
def test_who_does_not_look_at_load_says_so(name):
    assert load("routing", name).looks_at_load is False


@pytest.mark.parametrize("name", sorted(set(discover("routing")) - {"random", "round_robin"}))
def test_who_looks_at_load_is_asked_at_every_arrival(name):
    assert getattr(load("routing", name), "looks_at_load", True)


@pytest.mark.parametrize(
    ("replicas", "chosen"),
    [
        ([View(10, cached=0), View(0, cached=0)], 1),  # nothing cached: the least loaded
        ([View(100, cached=80), View(0, cached=50)], 0),  # the longest match
        ([View(100, cached=80), View(90, cached=80)], 1),  # the less loaded of equals
        ([View(100, cached=29), View(0, cached=0)], 1),  # too little of the prompt
        ([View(100, cached=30), View(0, cached=0)], 0),
        ([View(1101, cached=80), View(100, cached=0)], 1),  # overloaded
        ([View(1100, cached=80), View(100, cached=0)], 0),  # not by enough tokens
        ([View(4000, cached=80), View(2500, cached=0)], 1),
        ([View(4000, cached=80), View(2700, cached=0)], 0),  # not by enough times
        ([View(9000, cached=0), View(1000, cached=80), View(900, cached=0)], 1),  # another is
    ],
)
def test_prefix_affinity(replicas, chosen):
    assert PrefixAffinity(imbalance_tokens=1000).route(request(prompt=100), replicas, None) == chosen


def test_sessions_stick_to_the_replica_of_their_first_request():
    router, replicas = SessionAffinity(), [View(5), View(3), View(9)]
    assert router.route(request(session=7), replicas, None) == 1
    replicas[1].outstanding_tokens = 100
    assert router.route(request(session=7), replicas, None) == 1
    assert router.route(request(session=8), replicas, None) == 0
    assert router.route(request(), replicas, None) == 0
    replicas[2].outstanding_tokens = 0
    assert router.route(request(), replicas, None) == 2  # no session, nothing to remember


def test_a_session_whose_replica_is_down_moves_and_stays():
    router, replicas = SessionAffinity(), [View(5), View(9), View(3)]
    assert router.route(request(session=1), replicas, None) == 2
    assert router.route(request(session=1), replicas[1:], None) == 1  # same replica, another index
    assert router.route(request(session=1), replicas[:2], None) == 0
    assert router.route(request(session=1), replicas, None) == 0


def test_slo_aware_takes_the_soonest_first_token():
    replicas = [View(0, ttft_s=2.0), View(50, ttft_s=1.0), View(40, ttft_s=1.0), View(40, ttft_s=1.0)]
    assert SloAware().route(request(), replicas, None) == 2
