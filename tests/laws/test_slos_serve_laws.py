"""SLOs-Serve keeps what it promises: on random streams, whatever they cost, as the policy knows it exactly."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.slos_serve import SlosServe
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import colocated
from simulator.replica.limits import Limits
from simulator.replica.rules import DEFAULT_RULES
from simulator.workload.workload import Workload
from tests.engine_cases import PROTOTYPE, RaggedCost
from tests.examples import examples

ROUNDING_S = 1e-9


class TokenCost:
    """A step costs a constant and so much a token: the paper's model of a batch."""

    def __init__(self, step_s, token_s):
        self.constant_s, self.token_s = step_s, token_s

    def step_s(self, shape):
        return self.constant_s + self.token_s * (shape.prefill_tokens + shape.decode_seqs)


def policy_that_tells(promised, **parameters):
    """Make policies that write down which requests they promise their bounds."""

    class Told(SlosServe):
        def plan(self, step):
            super().plan(step)
            promised.update(job.id for job in self._promises.kept)

    return lambda: Told(**parameters)


@st.composite
def streams(draw):
    n = draw(st.integers(1, 60))

    def column(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    step_s, token_s = draw(st.sampled_from([0.001, 0.004, 0.01])), draw(st.sampled_from([1e-5, 1e-4, 5e-4]))
    cost = draw(st.sampled_from([TokenCost(step_s, token_s), RaggedCost()]))
    longest = draw(st.sampled_from([8, 60, 400]))
    outputs = column(st.integers(1, longest))
    gaps = column(st.sampled_from([0.0, 0.01, 0.05, 0.4]))
    tiers = draw(
        st.lists(st.sampled_from([0.02, 0.025, 0.04, 0.05, 0.07, 0.1, math.nan]), min_size=1, max_size=3)
    )
    ttfts = draw(st.lists(st.sampled_from([0.03, 0.1, 0.3, 1.0, math.nan]), min_size=1, max_size=3))
    predicted = outputs + column(st.sampled_from([0, 0, 10]))
    traffic = Workload(
        "test", np.cumsum(gaps), column(st.integers(1, longest)), outputs, int(outputs.max()) + 10, "a test",
        tpot_slo_s=column(st.sampled_from(tiers)), ttft_slo_s=column(st.sampled_from(ttfts)),
        predicted_tokens=predicted, thinking_tokens=column(st.sampled_from([0, 5])),
    )  # fmt: skip
    block_size = draw(st.sampled_from([1, 16]))
    least = 2 * (2 * longest + 10) // block_size + 4
    limits = Limits(
        draw(st.integers(1, 64)), draw(st.sampled_from([16, 256, 4096])), 2 * longest + 20,
        draw(st.sampled_from([least, 4 * least, 100_000])), block_size,
    )  # fmt: skip
    return traffic, cost, limits


def served(traffic, cost, limits, rules=PROTOTYPE, **parameters):
    """Return the requests of a run, and which of them were promised their bounds."""
    promised: set[int] = set()
    policy = policy_that_tells(promised, **parameters)
    cluster = engine.assemble(traffic, colocated(policy, cost, limits, RoundRobin(), rules=rules))
    _, stalled = engine.play(cluster)
    tables, _ = engine.unfold(cluster)
    assert stalled is None
    assert (tables.requests["delivered_tokens"] == traffic.output_tokens).all()
    return tables.requests, promised


def late_s(traffic, requests):
    """Return by how much each request missed its bounds of TTFT and TPOT, seconds; those that it has not it keeps."""
    ttft_s = requests["first_token_s"] - requests["arrival_s"]
    gaps = np.maximum(requests["delivered_tokens"] - 1, 1)
    tpot_s = (requests["last_token_s"] - requests["first_token_s"]) / gaps
    over = [ttft_s - traffic.optional["ttft_slo_s"], tpot_s - traffic.optional["tpot_slo_s"]]
    return np.fmax(*(np.nan_to_num(each, nan=-math.inf) for each in over))


@settings(max_examples=examples(150), deadline=None)
@given(streams(), st.sampled_from([PROTOTYPE, DEFAULT_RULES]))
def test_every_promise_is_kept(stream, rules):
    traffic, cost, limits = stream
    requests, promised = served(traffic, cost, limits, rules)
    kept = np.array(sorted(promised), dtype=int)
    assert (late_s(traffic, requests)[kept] <= ROUNDING_S).all()
