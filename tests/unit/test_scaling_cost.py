"""What replicas that come and go cost."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster.deployment import Scaling
from simulator.results import billing
from tests.cluster_cases import deployments, play
from tests.refusals import folder, refusal  # noqa: F401
from tests.scaled_clusters import Wants


def test_a_pool_that_never_changes_is_the_fixed_cluster():
    @settings(max_examples=60, deadline=None)
    @given(
        deployments(modes=("plain", "tight", "disaggregated", "faults", "abandonment", "migration", "mixed"))
    )
    def check(case):
        requests, deployment = case
        pools = [each._replace(scaling=None) for each in deployment.pools]
        count = sum(each.replicas for each in pools)
        faults = [each for each in deployment.faults.events if each.replica < count]
        faults = deployment.faults._replace(events=faults)
        fixed = deployment._replace(pools=pools, roles=None, faults=faults)
        held = [
            each._replace(scaling=Scaling(Wants(each.replicas + 1, 0), each.replicas, each.replicas))
            for each in pools
        ]
        one = play(requests, copy.deepcopy(fixed))[1].tables
        two = play(requests, copy.deepcopy(fixed._replace(pools=held)))[1].tables
        assert len(two.scaling["replica"]) == count
        for table in ("requests", "tokens", "steps", "transfers"):
            for name, column in getattr(one, table).items():
                assert column.tobytes() == getattr(two, table)[name].tobytes(), (table, name)

    check()


MANIFEST = {
    "pools": [
        {"role": "prefill", "replicas": 2, "places": 3, "scaling": {}, "tensor_parallel_size": 2,
         "usd_per_gpu_hour": 3.0},
        {"role": "decode", "replicas": 4, "places": 4, "scaling": None, "tensor_parallel_size": 1,
         "usd_per_gpu_hour": 1.0},
    ],
    "gpus": 8,
    "usd_per_gpu_hour": 2.0,
}  # fmt: skip


def table(*rows):
    names = ("ordered_s", "billed_from_s", "ready_s", "draining_s", "released_s")
    columns = np.array(rows, float).T
    return {"replica": columns[0].astype(np.int32), **dict(zip(names, columns[1:], strict=True))}


def test_bills_by_hand():
    nan = math.nan
    scaling = table(
        (0, 0, 0, 0, nan, nan),
        (1, 0, 0, 0, 500, 600),
        (2, 900, 1000, 1100, nan, nan),
        (1, 2000, 2100, nan, nan, 2050),  # cancelled before it was there
        (1, 3500, 3700, nan, nan, nan),  # and one too late
    )
    paid = billing.bill(MANIFEST, scaling, 0.0, 3600.0)
    prefill_s, decode_s = 3600 + 600 + 2600, 4 * 3600
    assert paid["gpu_hours"] == pytest.approx((2 * prefill_s + decode_s) / 3600)
    assert paid["usd"] == pytest.approx((3 * 2 * prefill_s + decode_s) / 3600)
    assert paid["gpus"] == pytest.approx((2 * prefill_s + decode_s) / 3600)
    assert paid["replicas"] == {
        "prefill": {
            "mean": pytest.approx(prefill_s / 3600),
            "peak": 2,
            "mean_in_service": pytest.approx((3600 + 600 + 2500) / 3600),
            "ordered": 3,
            "released": 2,
        }
    }
    later = billing.bill(MANIFEST, scaling, 550.0, 1050.0)["replicas"]["prefill"]
    assert (later["mean"], later["peak"], later["released"]) == (pytest.approx((500 + 50 + 50) / 500), 2, 1)
    assert billing.service_s(MANIFEST, scaling, 0.0, 3600.0) == pytest.approx(3600 + 600 + 2500 + decode_s)
    assert billing.bill(MANIFEST, None, 0.0, 1800.0) == {"gpus": 8, "gpu_hours": 4.0, "usd": 8.0}


moments = st.one_of(st.just(math.nan), st.floats(0, 100))


@given(st.lists(st.tuples(st.floats(0, 100), moments), min_size=1, max_size=8))
def test_the_bill_is_the_integral_of_replicas_over_time(lengths):
    rows = [(i, begin, begin, begin, math.nan, begin + lasts) for i, (begin, lasts) in enumerate(lengths)]
    scaling = table(*rows)
    pool = {"role": "both", "replicas": 1, "places": 8, "scaling": {}, "tensor_parallel_size": 1}
    paid = billing.bill({"pools": [pool], "usd_per_gpu_hour": 1.0}, scaling, 10.0, 70.0)
    edges = np.unique(
        np.clip([10, 70, *scaling["billed_from_s"], *np.nan_to_num(scaling["released_s"], nan=70)], 10, 70)
    )
    middle = (edges[1:] + edges[:-1]) / 2
    there = [sum(begin <= t and not t >= end for _, begin, _, _, _, end in rows) for t in middle]
    assert paid["gpu_hours"] * 3600 == pytest.approx(np.dot(there, np.diff(edges)), abs=1e-6)
    longest = [count for count, lasts in zip(there, np.diff(edges), strict=True) if lasts > 1e-9]
    assert paid["replicas"]["both"]["peak"] >= max(longest, default=0)
    means = billing.mean_over_bins(scaling["billed_from_s"], scaling["released_s"], np.linspace(10, 70, 7))
    assert means.mean() == pytest.approx(paid["replicas"]["both"]["mean"])
