"""SLOs-Serve keeps what it promises: on random streams, whatever they cost, as the policy knows it exactly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.acceptance.none import NoneRight
from policies.acceptance.rate import Rate
from policies.routing.round_robin import RoundRobin
from policies.scheduling.slos_serve import SlosServe
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import colocated
from simulator.replica.limits import Limits
from simulator.replica.rules import DEFAULT_RULES
from simulator.replica.speculation import Speculation
from simulator.workload.workload import Workload
from tests.cluster_cases import deployments, play
from tests.engine_cases import PROTOTYPE, RaggedCost, scenarios
from tests.examples import examples
from tests.laws.test_cluster_laws import check as check_cluster
from tests.laws.test_laws import check
from tests.laws.test_speculation_laws import speculating, speculations

ROUNDING_S = 1e-9


class TokenCost:
    """A step costs a constant and so much a token: the paper's model of a batch."""

    def __init__(self, step_s, token_s):
        self.constant_s, self.token_s = step_s, token_s

    def step_s(self, shape):
        tokens = shape.prefill_tokens + shape.decode_seqs + shape.draft_tokens
        return self.constant_s + self.token_s * (tokens + shape.draft_passes)


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


def served(traffic, cost, limits, rules=PROTOTYPE, speculation=None, **parameters):
    """Return the requests of a run, and which of them were promised their bounds."""
    promised: set[int] = set()
    policy = policy_that_tells(promised, **parameters)
    deployment = colocated(policy, cost, limits, RoundRobin(), rules=rules, speculation=speculation)
    cluster = engine.assemble(traffic, deployment)
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


@settings(max_examples=examples(100), deadline=None)
@given(streams(), st.integers(1, 5), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.3, 0.8]))
def test_every_promise_is_kept_with_drafts_of_any_quality(stream, drafts, right, rate):
    traffic, cost, limits = stream
    if isinstance(cost, RaggedCost):  # it does not price drafts
        cost = TokenCost(0.004, 1e-4)
    speculation = Speculation(Rate(right) if right else NoneRight(), drafts, seed=drafts)
    requests, promised = served(traffic, cost, limits, speculation=speculation, acceptance_rate=rate)
    assert (late_s(traffic, requests)[sorted(promised)] <= ROUNDING_S).all()


@settings(max_examples=examples(150), deadline=None)
@given(scenarios([("slos_serve", {}), ("slos_serve", {"thinking_tpot_s": 0.02})]), st.data())
def test_the_laws_hold_with_bounds(case, data):
    """Tight memory, departures, horizons, several replicas; promises may be broken by those, tokens are not lost."""
    plain = case["workload"]
    n = len(plain)

    def column(values):
        return np.array(data.draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)))

    bounds = {
        "ttft_slo_s": column([0.05, 0.5, 3.0, math.nan]),
        "tpot_slo_s": column([0.005, 0.05, 0.3, math.nan]),
        "thinking_tokens": column([0, 3]),
    }
    check({**case, "workload": with_columns(plain, bounds)})


def with_columns(plain, columns):
    return Workload(
        plain.name, plain.arrival_s, plain.prompt_tokens, plain.output_tokens, plain.max_tokens, plain.source,
        segments=plain.segments, output_stream=plain.output_stream, optional={**plain.optional, **columns},
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["plain", "tight", "disaggregated", "mixed"])
@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_the_laws_of_clusters_hold_with_bounds(mode, data):
    plain, deployment = data.draw(deployments((("slos_serve", {}),), (mode,)))
    n = len(plain)
    bounds = {
        name: np.array(data.draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)))
        for name, values in (("ttft_slo_s", [0.1, 3.0, math.nan]), ("tpot_slo_s", [0.01, 0.3, math.nan]))
    }
    if data.draw(st.booleans()):
        deployment = speculating(deployment, data.draw(speculations()))
    traffic = with_columns(plain, bounds)
    cluster, outcome = play(traffic, deployment)
    check_cluster(traffic, deployment, cluster, outcome)
