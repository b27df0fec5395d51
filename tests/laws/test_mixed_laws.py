"""Laws of fleets of unlike replicas: all that hold for any cluster, and each request is served by whom it asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.replica.request import RequestState
from tests.cluster_cases import play
from tests.examples import examples
from tests.laws.test_cluster_laws import check, check_looking
from tests.mixed_cases import MODES, mixed_deployments


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_laws_of_mixed_fleets(mode, data):
    traffic, deployment = data.draw(mixed_deployments(modes=[mode]))
    cluster, outcome = play(traffic, deployment)
    check(traffic, deployment, cluster, outcome)
    check_who_served(traffic, deployment, cluster, outcome)
    if deployment.grading is not None:
        check_calls(deployment, cluster, outcome)
    if deployment.max_gpus is not None:
        check_gpus(deployment, cluster.autoscalers.lifetimes)


def check_gpus(deployment, lifetimes):
    """Raise AssertionError if pools ever held more GPUs than they share."""
    sizes = [pool.scaling.gpus for pool in deployment.pools for _ in range(pool.places)]
    changes = [(each.ordered_s, sizes[each.replica]) for each in lifetimes]
    changes += [(each.released_s, -sizes[each.replica]) for each in lifetimes if each.released_s >= 0]
    assert max(np.cumsum([change for _, change in sorted(changes)]), default=0) <= deployment.max_gpus


def check_calls(deployment, cluster, outcome):
    """Raise AssertionError unless a cascade's request is one to its reader, who waited for all of its calls."""
    requests, calls = outcome.tables.requests, cluster.cascades
    rows, n = np.array(cluster.traffic.rows, int), len(requests["state"])
    turned_down = np.bincount(calls.number_of, minlength=n)
    started = requests["replica"] >= 0
    last = requests["state"] == RequestState.COMPLETED
    assert len(requests["calls"]) == len(requests["good_answer"]) == n
    assert (requests["calls"][last] == turned_down[last] + 1).all()
    assert (requests["calls"] <= turned_down + 1).all()
    assert (requests["list_usd"][~started & (turned_down == 0)] == 0).all()
    most = deployment.router.most_calls or len({pool.offer.model for pool in deployment.pools})
    assert (turned_down < most).all()
    for number, asked_s in zip(calls.number_of, calls.asked_s, strict=True):
        assert asked_s >= requests["arrival_s"][number]
        assert not requests["first_token_s"][number] <= asked_s
    good = deployment.grading.good[rows]
    pool = np.repeat(range(len(deployment.pools)), [each.places for each in deployment.pools])[
        requests["replica"]
    ]
    assert (requests["good_answer"][last] == good[np.arange(n), pool][last]).all()
    if deployment.horizon_s is None:
        ends = sum(
            records.count("ended") for each in cluster.replicas for records in (*each.past, each.records)
        )
        assert ends + len(cluster.refused) == n + calls.turned_down


def check_who_served(traffic, deployment, cluster, outcome):
    """Raise AssertionError unless requests were served by the model that they asked for, and failed where none fits."""
    requests, rows = outcome.tables.requests, np.array(cluster.traffic.rows, int)
    pools = [pool for pool in deployment.pools for _ in range(pool.places)]
    model = [traffic.model_names.index(pool.offer.model) for pool in pools]
    asked = traffic.optional["model"][rows]
    for request, replica in enumerate(requests["replica"].tolist()):
        assert replica < 0 or asked[request] in (-1, model[replica])
    if not deployment.faults.any:
        for request in np.flatnonzero(requests["state"] == RequestState.FAILED).tolist():
            tokens = requests["prompt_tokens"][request]
            for pool, its in zip(pools, model, strict=True):
                if asked[request] in (-1, its):
                    blocks = pool.limits.num_gpu_blocks - pool.rules.null_blocks
                    longest = pool.limits.max_model_len + pool.rules.overrun_tokens
                    assert tokens >= longest or tokens > blocks * pool.limits.block_size


@settings(max_examples=examples(60), deadline=None)
@given(mixed_deployments())
def test_looking_changes_nothing_in_mixed_fleets(case):
    check_looking(*case)
