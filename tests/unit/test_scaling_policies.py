"""What each scaling policy promises, on pools of which everything is known; and in whole simulations."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from policies.routing.least_loaded import LeastLoaded
from policies.scaling.none import Nothing
from policies.scaling.queue_length import QueueLength
from policies.scaling.schedule import Schedule
from policies.scaling.target_concurrency import TargetConcurrency
from policies.scaling.target_utilisation import TargetUtilisation
from simulator.cluster.deployment import Deployment, Pool, Scaling
from simulator.errors import InputError
from simulator.policy import PoolView
from simulator.replica.limits import Limits
from simulator.scenario.discover import complete
from tests.small_clusters import SECOND, link, serve, synchronous, traffic


def pool(*, replicas=1, coming=0, unplaced=(), tokens=0, requests=0, waiting=0):
    """A pool of which each replica has so much to do, and 100 blocks of 10 tokens."""
    each = SimpleNamespace(
        outstanding_tokens=tokens,
        outstanding_requests=requests,
        waiting_requests=waiting,
        total_blocks=100,
        block_size=10,
    )
    return PoolView([each] * replicas, coming, unplaced)


def jobs(count, tokens=1):
    return [SimpleNamespace(known_tokens=tokens)] * count


def test_none_keeps_what_there_is():
    assert Nothing().target(pool(replicas=3, coming=2, tokens=10**6), 0.0) == 5


def test_utilisation_is_of_tokens_over_what_the_caches_hold():
    policy = TargetUtilisation(utilisation=0.5, scale_down_delay_s=100.0)
    assert policy.target(pool(replicas=2, tokens=500), 0.0) == 2  # as wanted
    assert policy.target(pool(replicas=2, tokens=549), 15.0) == 2  # within the tolerance of a tenth
    assert policy.target(pool(replicas=2, tokens=551), 30.0) == 3  # 1102 of 500 each
    assert policy.target(pool(replicas=2, tokens=2000), 45.0) == 8  # a queue beyond all caches
    assert policy.target(pool(replicas=2, tokens=500, unplaced=jobs(5, 100)), 60.0) == 3


def test_what_is_coming_counts_as_there_and_adds_no_load():
    policy = TargetUtilisation(utilisation=0.5)
    assert policy.target(pool(replicas=2, coming=2, tokens=1000), 0.0) == 4
    assert (
        TargetUtilisation().target(pool(replicas=0, coming=1, unplaced=jobs(3)), 0.0) == 1
    )  # nothing known yet


def test_scaling_down_goes_to_the_most_of_the_window_and_up_at_once():
    policy = TargetUtilisation(utilisation=0.5, scale_down_delay_s=60.0)
    at = [(0.0, 4, 2000), (30.0, 4, 1000), (59.0, 4, 400), (61.0, 4, 400), (89.0, 2, 400), (91.0, 2, 400)]
    found = [policy.target(pool(replicas=n, tokens=total // n), now_s) for now_s, n, total in at]
    assert found == [4, 4, 4, 2, 2, 1]
    assert policy.target(pool(replicas=1, tokens=3000), 92.0) == 6


def test_scaling_down_waits_at_the_beginning_too():
    policy = TargetUtilisation(scale_down_delay_s=60.0)
    assert policy.target(pool(replicas=4), 0.0) == 4
    assert policy.target(pool(replicas=4), 60.0) == 4
    assert policy.target(pool(replicas=4), 61.0) == 0  # the bounds are not the policy's


def test_concurrency_is_averaged_over_a_minute():
    policy = TargetConcurrency(requests=10.0, interval_s=20.0, panic_window_s=20.0, window_s=60.0)
    for now_s, requests, wanted in (
        (0.0, 10, 2),  # the beginning
        (20.0, 10, 2),
        (40.0, 10, 2),
        (60.0, 15, 3),  # the mean of 20, 20 and 30
        (80.0, 5, 2),  # of 20, 30 and 10
        (100.0, 5, 2),  # of 30, 10 and 10
        (120.0, 5, 1),
    ):
        assert policy.target(pool(replicas=2, requests=requests), now_s) == wanted, now_s


def test_a_panic_looks_at_the_last_seconds_and_gives_nothing_back():
    policy = TargetConcurrency(requests=10.0)
    for now_s in range(0, 120, 2):
        assert policy.target(pool(replicas=2, requests=10), float(now_s)) == 2
    assert (
        policy.target(pool(replicas=2, requests=25), 120.0) == 3
    )  # 30 lately: less than twice what is there
    assert policy.target(pool(replicas=2, requests=60), 122.0) == 7  # 20, 50 and 120: a panic
    assert policy.target(pool(replicas=2, coming=5, requests=0), 150.0) == 7
    assert policy.target(pool(replicas=7, requests=0), 181.9) == 7
    assert policy.target(pool(replicas=7, requests=0), 182.0) == 0


def test_concurrency_goes_down_to_the_most_of_a_delay():
    policy = TargetConcurrency(requests=10.0, window_s=2.0, panic_window_s=2.0, scale_down_delay_s=10.0)
    found = [
        policy.target(pool(replicas=3, requests=n), 2.0 * i) for i, n in enumerate([10, 9, 3, 2, 2, 2, 2, 2])
    ]
    assert found == [3, 3, 3, 3, 3, 3, 3, 1]
    assert policy.target(pool(replicas=3, requests=9), 16.0) == 3


def test_queue_adds_by_its_length_and_gives_one_back_after_quiet():
    policy = QueueLength(waiting_per_replica=5.0, scale_down_delay_s=60.0)
    assert policy.target(pool(replicas=2, waiting=5), 0.0) == 2
    assert policy.target(pool(replicas=2, waiting=9), 15.0) == 4
    assert policy.target(pool(replicas=2, coming=2, waiting=9), 30.0) == 4  # not again
    assert policy.target(pool(replicas=0, unplaced=jobs(6)), 45.0) == 2
    found = [policy.target(pool(replicas=4), now_s) for now_s in (60.0, 119.0, 120.0, 135.0, 180.0)]
    assert found == [4, 4, 3, 4, 3]
    assert policy.target(pool(replicas=3, waiting=1), 239.0) == 3
    assert policy.target(pool(replicas=3), 241.0) == 3  # it begins anew


def test_a_schedule_gives_its_numbers_once_or_every_day():
    once = Schedule(at_s=[10.0, 20.0], replicas=[3, 1])
    assert [once.target(pool(replicas=2), now_s) for now_s in (0.0, 9.9, 10.0, 19.9, 20.0, 1e6)] == [
        2,
        2,
        3,
        3,
        1,
        1,
    ]
    daily = Schedule(at_s=[10.0, 20.0], replicas=[3, 1], repeat_s=24.0)
    times = (0.0, 10.0, 20.0, 24.0, 33.9, 34.0, 44.0, 48.0, 58.5)
    assert [daily.target(pool(replicas=2), now_s) for now_s in times] == [2, 3, 1, 1, 1, 3, 1, 1, 3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("target_utilisation", {"utilisation": 1.5}, "utilisation is a share"),
        ("target_utilisation", {"tolerance": 1.0}, "tolerance is a share"),
        ("target_utilisation", {"interval_s": 0.0}, "interval_s: expected a finite number > 0"),
        ("target_concurrency", {"panic_window_s": 90.0}, "expected interval_s <= panic_window_s <= window_s"),
        ("queue_length", {"waiting_per_replica": -1.0}, "waiting_per_replica: expected a finite number > 0"),
        ("queue_length", {"wating": 1.0}, "no such parameter"),
        ("schedule", {"at_s": []}, "0 times and 1 numbers"),
        ("schedule", {"at_s": [0.0, 5.0]}, "2 times and 1 numbers"),
        ("schedule", {"at_s": [5.0, 0.0], "replicas": [1, 2]}, "has to ascend"),
        ("schedule", {"at_s": [math.nan], "replicas": [1]}, "has to ascend"),
        (
            "schedule",
            {"at_s": [0.0, 90.0], "replicas": [1, 2], "repeat_s": 90.0},
            "within a day of repeat_s = 90",
        ),
        ("schedule", {"replicas": [-1]}, "replicas are 0 or more"),
        ("schedule", {"replicas": [1.5]}, "expected a valid integer"),
    ],
)
def test_parameters_are_refused(name, options, message):
    with pytest.raises(InputError, match=rf"policy\.scaling.*{message}"):
        complete("scaling", name, options)


LIMITS = Limits(64, 4096, 4096, 101, 16)  # 100 blocks that are handed out, 1600 tokens


@pytest.mark.parametrize(
    ("policy", "each"),
    [
        (TargetConcurrency(requests=15.0, window_s=30.0), 15.0),
        (TargetConcurrency(requests=40.0), 40.0),
        (TargetUtilisation(utilisation=0.1, scale_down_delay_s=60.0), 16.0),
        (TargetUtilisation(utilisation=0.25, scale_down_delay_s=60.0), 40.0),
    ],
)
def test_on_a_steady_load_there_are_as_many_replicas_as_it_needs(policy, each):
    """Ten requests come a second, each served for nine steps of a second after waiting half of one: 95 are there.

    (Little's law.) Their ten known tokens are on average 6 + 4: known are 6 of the prompt and 4 to 5 of the answer.
    """
    requests = traffic(np.arange(4000) / 10, [6] * 4000, [9] * 4000)
    pools = [Pool(synchronous, SECOND, LIMITS, 1, scaling=Scaling(policy, 1, 20, 5.0, 5.0))]
    lives = serve(requests, Deployment(pools, LeastLoaded(), link=link(24))).tables.scaling
    needed = 95 / each
    for time_s in np.arange(250.0, 390.0, 10.0):
        there = (lives["ready_s"] <= time_s) & ~(lives["draining_s"] <= time_s)
        assert abs(there.sum() - needed) <= 1, time_s
