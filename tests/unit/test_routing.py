"""The rules of the routers."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing._prefix_index import PrefixIndex
from policies.routing.llumnix import LlumnixDispatch
from policies.routing.prefix_affinity import PrefixAffinity
from policies.routing.random import Random
from policies.routing.round_robin import RoundRobin
from policies.routing.session_affinity import SessionAffinity
from policies.routing.slo_aware import SloAware
from simulator.scenario.discover import discover, load
from tests.policy_views import View, decoding, request


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
        ([View(100, cached=30), View(0, cached=0)], 1),  # too little of the prompt
        ([View(100, cached=31), View(0, cached=0)], 0),
        ([View(cached=80, requests=11), View(requests=0)], 1),  # uneven
        ([View(cached=80, requests=10), View(requests=0)], 0),  # not by enough requests
        ([View(cached=80, requests=45), View(requests=30)], 0),  # not by enough times
        ([View(cached=80, requests=46), View(requests=30)], 1),
    ],
)
def test_prefix_affinity_by_the_caches_themselves(replicas, chosen):
    router = PrefixAffinity(imbalance_requests=10, index="oracle")
    assert router.route(request(prompt=100), replicas, None) == chosen


def prompt(number, *segments, arrival_s=0.0):
    job = request(number, arrival_s, prompt=sum(tokens for _, tokens in segments))
    job.prompt_segments = segments
    return job


def test_prefix_affinity_goes_by_what_it_sent_where():
    router, replicas = PrefixAffinity(), [View(9000, cached=99), View(), View(cached=99)]
    shared = (7, 60)
    first = router.route(prompt(0, shared, (-1, 40)), replicas, None)
    assert first == 0  # none was sent anything: the first
    assert router.route(prompt(1, shared, (-2, 40)), replicas, None) == first
    assert router.route(prompt(2, (8, 100)), replicas, None) == 1  # the one that was sent least
    assert (
        router.route(prompt(3, (7, 30), (-4, 70)), replicas, None) == 2
    )  # 30 of 100 are not more than the share
    assert router.route(prompt(4, (7, 31), (-5, 69)), replicas, None) == first
    replicas[first].outstanding_requests = 65
    assert router.route(prompt(5, shared, (-6, 40)), replicas, None) == 1  # uneven
    replicas[first].outstanding_requests = 0
    assert router.route(prompt(6, shared, (-6, 40)), replicas, None) == 1  # and remembered


def test_prefix_affinity_forgets_the_least_recently_used():
    router, replicas = PrefixAffinity(tree_tokens=150, forget_interval_s=10.0), [View(), View()]
    sent = [(1, 100), (2, 100), (1, 100), (3, 100)]
    for number, segment in enumerate(sent):
        router.route(prompt(number, segment, arrival_s=float(number)), [replicas[0]], None)
    router.route(prompt(9, (5, 10), arrival_s=20.0), [replicas[1]], None)  # a look at the sizes
    assert router.route(prompt(10, (3, 100), arrival_s=21.0), replicas, None) == 0
    assert (
        router.route(prompt(11, (2, 100), arrival_s=21.0), replicas, None) == 1
    )  # forgotten, sent where less was


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=5),
            st.integers(0, 2),
        ),
        max_size=12,
    )
)
def test_the_index_of_prefixes_finds_what_comparing_token_by_token_finds(sent):
    index, seen = PrefixIndex(10**9), []
    for segments, place in sent:
        tokens = [stream for stream, length in segments for _ in range(length)]
        same = {
            where: max(
                sum(
                    all(a == b for a, b in zip(tokens[: k + 1], old[: k + 1], strict=False))
                    for k in range(min(len(tokens), len(old)))
                )
                for old, there in seen
                if there == where
            )
            for where in {there for _, there in seen}
        }
        assert index.matches(segments) == {where: found for where, found in same.items() if found}
        index.insert(segments, place, float(len(seen)))
        seen.append((tokens, place))
    for place in index.tokens:
        begun = {tuple(old[: k + 1]) for old, there in seen if there == place for k in range(len(old))}
        assert index.tokens[place] == len(begun)


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


def test_llumnix_dispatches_to_the_highest_freeness():
    busy = [decoding(k, priority=1) for k in range(4)]
    replicas = [View(running=busy, free=100), View(running=busy[:1], free=40), View(running=busy, free=150)]
    assert LlumnixDispatch().route(request(), replicas, None) == 1  # 40 steps for one, 37.5 for four
    replicas[1].waiting = [request(7, prompt=16), request(8, prompt=320)]  # (40 - 1 - 20) / 3
    assert LlumnixDispatch().route(request(), replicas, None) == 2
    replicas[2].running = [*busy[:3], decoding(9, priority=0)]
    spares = LlumnixDispatch(headroom_blocks=60)
    assert spares.route(request(priority=1), replicas, None) == 0
    assert spares.route(request(priority=0), replicas, None) == 2
    replicas[0].draining = True
    assert spares.route(request(priority=1), replicas, None) == 2
