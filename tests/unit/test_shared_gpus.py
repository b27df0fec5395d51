"""Pools that share GPUs: who gets them, that there are never more, and what a change of layout is worth."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.least_loaded import LeastLoaded
from policies.scaling.layout_switch import LayoutSwitch
from simulator.cluster.deployment import Deployment, Pool, Scaling
from simulator.cluster.shared_gpus import divided
from simulator.errors import InputError
from simulator.policy import PoolView
from simulator.replica.limits import Limits
from simulator.replica.offer import Offer
from simulator.scenario.discover import complete
from tests.engine_cases import EvenCost
from tests.examples import examples
from tests.refusals import folder, refusal  # noqa: F401
from tests.scaled_clusters import Wants, lives
from tests.small_clusters import link, serve, synchronous, traffic

SEATS = Limits(8, 4096, 4096, 10_000, 16)
WIDE_S, NARROW_S, LOAD_S = 0.25, 0.5, 5.0  # a step with four GPUs, with one; loading the model


def shared(wide, narrow, *, start="wide", model="m", max_gpus=4, load_s=LOAD_S):
    """One replica of four GPUs, or up to four of one, each pool with its policy."""

    def pool(name, policy, most, gpus, step_s, its):
        scaling = Scaling(policy, 0, most, 0.0, load_s, gpus)
        replicas = most if start == name else 0
        return Pool(synchronous, EvenCost(step_s), SEATS, replicas, scaling=scaling, offer=Offer(name, its))

    pools = [pool("wide", wide, 1, 4, WIDE_S, "m"), pool("narrow", narrow, 4, 1, NARROW_S, model)]
    return Deployment(pools, LeastLoaded(), link=link(24), max_gpus=max_gpus)


def layouts(start, **parameters):
    policies = [LayoutSwitch([10], **parameters) for _ in range(2)]
    return shared(*policies, start=start)


def requests(*phases):
    """Evenly spaced requests of ten tokens: so many a second for so many seconds, one phase after another."""
    begins = np.cumsum([0.0, *(seconds for _, seconds in phases)])
    arrivals = np.concatenate([
        begin + np.arange(int(rate * seconds)) / rate for begin, (rate, seconds) in zip(begins, phases, strict=False)
    ])  # fmt: skip
    return traffic(arrivals, [4] * len(arrivals), [10] * len(arrivals))


def e2e_s(outcome):
    table = outcome.tables.requests
    return table["last_token_s"] - table["arrival_s"]


# Who gets GPUs


def test_an_order_waits_until_others_have_given_their_gpus_back():
    outcome = serve(
        traffic([0.0] * 4, [4] * 4, [10] * 4), shared(Wants(0), Wants(4, 4, 4, 4, 4, 4), load_s=1.0)
    )
    first, *others = lives(outcome)
    assert first == (0, 0, 0, 0, 1, 2.5)  # ten steps
    assert [each[:4] for each in others] == [(i, 2.5, 2.5, 3.5) for i in range(1, 5)]


def test_what_drains_is_taken_back_without_gpus_and_an_order_that_waits_can_be_given_up():
    outcome = serve(traffic([0.0], [4], [20]), shared(Wants(0, 1), Wants(4, 0), load_s=1.0))
    assert lives(outcome) == [(0, 0, 0, 0, None, None)]


def test_orders_that_wait_are_coming_and_pools_see_one_another_at_one_moment():
    seen = []

    class Looks(Wants):
        def target(self, pool, now_s):
            (other,) = pool.others
            seen.append((now_s, pool.name, pool.coming, other.name, other.coming, len(other.draining)))
            return super().target(pool, now_s)

    serve(traffic([0.0], [4], [10]), shared(Looks(0), Looks(4)))
    assert seen[:4] == [
        (1, "wide", 0, "narrow", 0, 0), (1, "narrow", 0, "wide", 0, 0),
        (2, "wide", 0, "narrow", 4, 0), (2, "narrow", 4, "wide", 0, 1),
    ]  # fmt: skip


def test_a_pool_that_alone_serves_a_model_gets_a_replica_whatever_policies_want():
    asked = traffic(
        [0.0, 0.0, 2.0], [4] * 3, [10] * 3, model_names=["m", "n"], optional={"model": np.array([0, 1, 0])}
    )
    outcome = serve(asked, shared(Wants(1), Wants(0), model="n", load_s=1.0))
    assert outcome.tables.requests["replica"].tolist() == [0, 1, 0]


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_gpus_are_divided_within_what_there_is_and_in_order(data):
    n = data.draw(st.integers(1, 4))
    draw = lambda low, high: data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))  # noqa: E731
    gpus, least, more = draw(1, 8), draw(0, 2), draw(0, 9)
    wanted = [few + each for few, each in zip(least, more, strict=True)]
    needed = sum(few * size for few, size in zip(least, gpus, strict=True))
    max_gpus = needed + data.draw(st.integers(0, 20))
    found = divided(wanted, least, gpus, max_gpus)
    left = max_gpus - sum(part * size for part, size in zip(found, gpus, strict=True))
    assert left >= 0
    for part, few, want, size in zip(found, least, wanted, gpus, strict=True):
        assert few <= part <= want
        assert part == want or left < size  # none is kept from who wants it


# Layouts


def pools(unfinished, now="wide", coming=0):
    """Both views when one of the layouts has the GPUs."""
    there = [SimpleNamespace(outstanding_requests=unfinished)]
    views = [
        PoolView(there if now == name else [], coming if now == name else 0, [], name, gpus, most)
        for name, gpus, most in (("wide", 4, 1), ("narrow", 1, 4))
    ]
    return [view._replace(others=[other for other in views if other is not view]) for view in views]


def wanted(policies, now_s, *given, **more):
    return [policy.target(view, now_s) for policy, view in zip(policies, pools(*given, **more), strict=True)]


def test_a_layout_changes_only_past_the_margin_and_after_the_delay():
    policies = [LayoutSwitch([64], margin=0.25, delay_s=2.0) for _ in range(2)]
    wide, narrow = [1, 0], [0, 4]
    given = [(0, 79), (1, 80), (2, 79), (3, 80), (4, 80)]  # 64 x 1.25 = 80
    assert [wanted(policies, at_s, n) for at_s, n in given] == [wide] * 5
    assert wanted(policies, 5, 80) == narrow
    assert wanted(policies, 6, 1, "narrow", coming=3) == narrow  # no other switch until all serve
    given = [(7, 49), (8, 48), (9, 48), (10, 47), (11, 47), (12, 47)]  # 64 x 0.75 = 48
    assert [wanted(policies, at_s, n, "narrow") for at_s, n in given] == [narrow] * 5 + [wide]


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([0, 2])), min_size=1, max_size=30))
def test_pools_agree_on_one_layout_that_is_kept_within_the_margin(given):
    policies, now = [LayoutSwitch([64], delay_s=1.0) for _ in range(2)], "wide"
    for at_s, (unfinished, coming) in enumerate(given):
        found = wanted(policies, at_s, unfinished, now, coming)
        assert found in ([1, 0], [0, 4])
        then = "wide" if found[0] else "narrow"
        assert then == now or (not coming and not 48 <= unfinished < 80)
        now = then


def test_where_load_falls_a_switch_beats_both_layouts():
    """Five requests a second are too many for the wide layout; alone a request is twice as fast in it."""
    falling = requests((5.0, 60.0), (0.5, 240.0))
    mean = {
        start: e2e_s(serve(falling, layouts(start, delay_s=math.inf))).mean() for start in ("wide", "narrow")
    }
    switched = serve(falling, layouts("narrow"))
    wide, *narrow = lives(switched)
    assert len(narrow) == 4
    assert 70 <= wide[1] < 85  # one switch, when the delay is over and the others have drained
    assert e2e_s(switched).mean() < 0.9 * min(mean.values())


def test_where_load_rises_all_that_come_wait_until_the_new_layout_serves():
    rising = serve(requests((0.5, 60.0), (4.0, 60.0)), layouts("wide"))
    (_, *_, draining_s, released_s), *narrow = lives(rising)
    assert draining_s >= 70
    assert [each[1:4] for each in narrow] == [(released_s, released_s, released_s + LOAD_S)] * 4
    table = rising.tables.requests
    held = (table["arrival_s"] > draining_s) & (table["arrival_s"] < released_s + LOAD_S)
    assert held.sum() >= 4 * LOAD_S - 1
    assert (table["first_scheduled_s"][held] >= released_s + LOAD_S).all()


# What is refused

POOLS = """
[policy]
scaling = "layout_switch"
[cluster.pools.wide]
tensor_parallel_size = 8
max_replicas = 1
[cluster.pools.narrow]
replicas = 0
max_replicas = 8
[workload]
trace = "t.csv"
"""


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("min_replicas = 0\nmax_gpus = 4", "cluster.scaling.max_gpus: 4 found for 8 GPUs at the start"),
        ("max_gpus = 9", "cluster.pools.narrow.replicas: 0 at the start; expected from min_replicas = 1"),
        ("min_replicas = 0\nmax_gpus = 0", "cluster.scaling.max_gpus: expected a number >= 1, got 0"),
        ("min_replicas = 0", "1 pools for from_requests = [64]; expected 2 that share cluster.scaling.max_gpus"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(cluster, message, folder, capsys):  # noqa: F811
    Path("s.toml").write_text(f"{POOLS}[cluster.scaling]\nprovision_s = 0.0\n{cluster}\n")
    assert message in refusal(capsys, "run", "s.toml")


def test_other_scenarios_are_refused(folder, capsys):  # noqa: F811
    Path("s.toml").write_text('workload.trace = "t.csv"\ncluster.scaling.max_gpus = 8\n')
    assert "cluster.scaling.max_gpus: given without cluster.pools" in refusal(capsys, "run", "s.toml")
    Path("s.toml").write_text('workload.trace = "t.csv"\ncluster.pools.a.replicas = 0\n')
    assert "cluster.pools.a.replicas: expected a number >= 1 in a pool that is not scaled" in refusal(
        capsys, "run", "s.toml"
    )
    least = POOLS.replace("replicas = 0\nmax", "min_replicas = 0\nreplicas = 0\nmax")
    Path("s.toml").write_text(f"{least}[cluster.scaling]\nmax_gpus = 8\n")
    assert "max_gpus: 8 found; expected at least 9, for a replica of cluster.pools.narrow" in refusal(
        capsys, "run", "s.toml"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_requests": []}, "from_requests has to ascend from 1 or more"),
        ({"from_requests": [64, 8]}, "from_requests has to ascend"),
        ({"from_requests": [0]}, "from_requests has to ascend"),
        ({"margin": 1.0}, "margin is a share"),
        ({"delay_s": -1.0}, "delay_s"),
        ({"interval_s": 0.0}, "interval_s"),
    ],
)
def test_parameters_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        complete("scaling", "layout_switch", options)
