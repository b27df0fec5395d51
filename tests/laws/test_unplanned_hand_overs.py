"""What replicas that hand over do without asking their policies gives what asking them at every step gives."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from policies.routing.least_loaded import LeastLoaded
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import Deployment, Fault, Faults, HandOff, Link, Pool
from simulator.cluster.simulate import assemble, play, unfold
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.replica.replica import Replica
from simulator.workload.workload import Workload
from tests.cluster_cases import KV_BYTES
from tests.engine_cases import EvenCost, RaggedCost, native, serve
from tests.examples import examples
from tests.laws.test_cluster_laws import same


class Even(EvenCost):
    """Every step lasts the same, and says so beforehand."""

    def decode_piece(self, seqs, context_tokens):
        return 0, float("inf"), self.duration_s, 0.0


@st.composite
def hand_overs(draw):
    """Requests that may leave, on few blocks and few seats, over a link that is slow or not."""
    n = draw(st.integers(2, 24))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.0625, 0.3, 2.0]), min_size=n, max_size=n))
    prompts = np.array(draw(st.lists(st.integers(1, 90), min_size=n, max_size=n)))
    outputs = np.array(draw(st.lists(st.integers(1, 60), min_size=n, max_size=n)))
    arrivals = np.cumsum(gaps)
    optional = {}
    if draw(st.booleans()):
        stay = draw(st.lists(st.sampled_from([np.nan, 0.2, 1.5]), min_size=n, max_size=n))
        optional["leave_s"] = arrivals + np.array(stay)
    traffic = Workload("made", arrivals, prompts, outputs, 60, "drawn", optional=optional)
    version, ahead = draw(st.sampled_from(["0.11.0", "0.24.0"])), draw(st.booleans())
    own = draw(
        st.sampled_from([{}, {"policy": "priority"}, {"watermark": 0.1}, {"enable_chunked_prefill": False}])
    )

    def policy():
        return VllmV1(engine_version=version, async_scheduling=ahead, enable_prefix_caching=caching, **own)

    caching = draw(st.sampled_from([False, False, True]))
    limits = Limits(draw(st.sampled_from([2, 64])), 160, 160, draw(st.sampled_from([45, 90, 10_000])), 4)
    cost = draw(st.sampled_from([Even(0.0625), RaggedCost()]))
    pools = [
        Pool(policy, cost, limits, draw(st.integers(1, 2)), role, rules=native(policy))
        for role in ("prefill", "decode")
    ]
    router = draw(st.sampled_from([LeastLoaded, RoundRobin]))
    rule = (
        draw(st.sampled_from(["wait", "wait", "recompute", "evict"])),
        False,
        0,
        draw(st.sampled_from(["decode", "prefill"])),
        draw(st.sampled_from([0.0, 0.0625, 0.07])),
        draw(st.sampled_from([float("inf"), 0.5])),
    )
    rate = draw(st.sampled_from([50, 4096, 1e9]))
    link = Link(rate * KV_BYTES, 0.0, KV_BYTES, setup_s=draw(st.sampled_from([0.0, 0.003, 0.0625])))
    faults = Faults([Fault("crash", 1, 1.0, 0.5)] if draw(st.booleans()) else [], float("inf"), 0.7, 1)
    parts = {"router": LeastLoaded(), "link": link, "faults": faults, "seed": 1}
    return traffic, lambda: Deployment(pools, hand_off=HandOff(router(), *rule), **parts)


@settings(max_examples=examples(40), deadline=None, phases=[Phase.generate])
@given(hand_overs())
def test_what_is_not_planned_is_what_would_have_been(case):
    traffic, deployment = case

    def served():
        cluster = assemble(traffic, deployment())
        assert play(cluster) == (False, None)
        return unfold(cluster)[0]

    one = served()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        patch.setattr(VllmV1, "admits_all", lambda self: False)
        patch.setattr(Replica, "grants_s", lambda self: float("inf"))
        same(one, served())


def test_a_policy_that_derives_from_one_which_admits_all_is_asked():
    asked = []

    class Own(VllmV1):
        def plan(self, step):
            asked.append(len(step.waiting))
            super().plan(step)

    assert serve(Own, [0.0], [8], [3]).tables.requests["delivered_tokens"].tolist() == [3]
    assert asked[0] == 1
    assert VllmV1().admits_all()
    assert not VllmV1(watermark=0.1).admits_all()
