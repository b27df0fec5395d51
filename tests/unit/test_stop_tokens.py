"""Answers that end by a stop token: an engine that plans ahead has computed a token more before it sees it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator import Scenario, run
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.limits import Limits
from tests.engine_cases import EvenCost, RaggedCost, native, workload

STOP = Limits(64, 4096, 4096, 10_000, 16, stop_tokens=True)
KNOWN = Limits(64, 4096, 4096, 10_000, 16)
TABLES = ("requests", "tokens", "steps")


def serve(policy, limits, arrivals, prompts, outputs, max_tokens, cost=None):
    traffic = workload(arrivals, prompts, outputs, max_tokens)
    deployment = colocated(policy, cost or EvenCost(1.0), limits, RoundRobin(), rules=native(policy))
    return simulate(traffic, deployment).tables


def decodes(tables):
    return tables.steps["decode_seqs"].tolist()


def same(one, other):
    for table in TABLES:
        for name, column in getattr(one, table).items():
            np.testing.assert_array_equal(column, getattr(other, table)[name], err_msg=f"{table}.{name}")


def test_the_step_after_the_last_computes_a_token_that_no_client_gets():
    stop = serve(VllmV1, STOP, [0.0], [4], [3], 9)
    assert decodes(stop) == [0, 1, 1, 1]
    assert decodes(serve(VllmV1, KNOWN, [0.0], [4], [3], 9)) == [0, 1, 1]
    assert stop.tokens["generated_s"].tolist() == [1.0, 2.0, 3.0]
    assert stop.requests["end_s"].tolist() == [3.0]


def test_what_arrives_meanwhile_waits_for_that_step():
    stop = serve(VllmV1, STOP, [0.0, 3.5], [4, 4], [3, 1], 9)
    known = serve(VllmV1, KNOWN, [0.0, 3.5], [4, 4], [3, 1], 9)
    assert stop.requests["end_s"].tolist() == [3.0, 5.0]
    assert known.requests["end_s"].tolist() == [3.0, 4.5]


def test_the_token_takes_its_place_in_the_budget():
    """Two of three tokens are left for the other prompt in the step after the last one of the first answer."""
    one_step_later = Limits(4, 3, 64, 100, 16, stop_tokens=True)
    tables = serve(VllmV1, one_step_later, [0.0, 0.0], [3, 3], [1, 1], 9)
    assert tables.steps["prefill_tokens"].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "policy",
    [lambda: VllmV1(async_scheduling=False), lambda: Sglang(disable_overlap_schedule=True), Sglang],
    ids=["one step at a time", "SGLang without overlap", "SGLang, which counts them itself"],
)
def test_elsewhere_nothing_changes(policy):
    traffic = [0.0, 0.1, 0.2, 3.0], [9, 40, 3, 7], [3, 8, 1, 5], 9
    same(serve(policy, STOP, *traffic, RaggedCost()), serve(policy, KNOWN, *traffic, RaggedCost()))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.floats(0, 0.05))
def test_answers_as_long_as_they_may_be_end_as_known(prompts, gap_s):
    """An answer of ``max_tokens`` tokens ends by its length, which the engine counts."""
    n = len(prompts)
    traffic = np.arange(n) * gap_s, prompts, [7] * n, 7
    same(serve(VllmV1, STOP, *traffic, RaggedCost()), serve(VllmV1, KNOWN, *traffic, RaggedCost()))


@given(st.data())
def test_every_stop_token_costs_exactly_one_decode_more(data):
    """Where nothing is preempted; and every client gets what it got."""
    n = data.draw(st.integers(1, 20))
    lengths = st.lists(st.integers(1, 20), min_size=n, max_size=n)
    gaps = data.draw(st.lists(st.floats(0, 0.1), min_size=n, max_size=n))
    traffic = np.cumsum(gaps), data.draw(lengths), data.draw(lengths), 20
    stop, known = (serve(VllmV1, limits, *traffic, RaggedCost()) for limits in (STOP, KNOWN))
    stopped = sum(output < 20 for output in traffic[2])
    assert sum(decodes(stop)) == sum(decodes(known)) + stopped
    assert len(stop.tokens["generated_s"]) == len(known.tokens["generated_s"])


def test_a_scenario_says_it():
    """One decode more for each answer but the longest, at most; and the manifest keeps it."""
    results = [
        run(
            Scenario(
                workload={
                    "arrivals": "poisson",
                    "requests": 60,
                    "rate_rps": 20.0,
                    "lengths": "chat_sharegpt_vllm",
                },
                engine={"stop_tokens": stop},
            )
        )
        for stop in (False, True)
    ]
    decoded = [result.steps()["decode_seqs"].to_numpy().sum() for result in results]
    assert decoded[0] < decoded[1] <= decoded[0] + 60
    assert results[1].manifest["scenario"]["engine"]["stop_tokens"] is True
