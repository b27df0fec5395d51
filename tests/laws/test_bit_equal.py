"""The fast engine against the plain stepper: equal to the last bit, over random scenarios."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.orca import Orca
from policies.scheduling.static import Static
from policies.scheduling.vllm_v0 import VllmV0
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.limits import Limits
from simulator.replica.records import STEP_COLUMNS
from simulator.replica.request import RequestState
from simulator.workload.workload import Workload
from tests.engine_cases import EvenCost, RaggedCost, native
from tests.examples import examples
from tests.plain_stepper import PlainJob, PlainServer, plain_run

POLICIES = {"vllm_v1": VllmV1, "vllm_v0": VllmV0, "orca": Orca, "static": Static}


@st.composite
def scenarios(draw):
    n = draw(st.integers(1, 40))
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    longest = draw(st.sampled_from([6, 20, 60]))
    prompts = draw(st.lists(st.integers(1, longest), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, longest), min_size=n, max_size=n))
    ties = draw(st.booleans())
    if ties:
        gaps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.75]), min_size=n, max_size=n))
    else:
        gaps = draw(st.lists(st.floats(0, 0.2), min_size=n, max_size=n))
    # Enough for the largest request alone (and the block that V0 wants to see free), or ample
    least = -(-2 * longest // block_size) + 2
    blocks = draw(st.sampled_from([least, least + 1, least + least // 2, 3 * least, 10_000]))
    policy = draw(st.sampled_from(sorted(POLICIES)))
    options = {}
    budget = draw(st.integers(2 * longest, 6 * longest))
    if policy == "vllm_v1":
        options["enable_prefix_caching"] = False  # the plain stepper keeps none
        options["enable_chunked_prefill"] = draw(st.booleans())
        options["scheduler_reserve_full_isl"] = draw(st.booleans())
        options["watermark"] = draw(st.sampled_from([0.0, 0.1]))
        options["async_scheduling"] = draw(st.booleans())
        if options["enable_chunked_prefill"]:
            options["long_prefill_token_threshold"] = draw(st.sampled_from([0, 0, 1, 5, 11]))
            budget = draw(st.integers(1, 3 * longest))
    horizon = draw(st.sampled_from([None, None, 0.75, 3.3]))
    return {
        "arrivals": np.cumsum(gaps),
        "prompts": prompts,
        "outputs": outputs,
        "policy": policy,
        "options": options,
        "cost": EvenCost() if ties else RaggedCost(),
        "horizon": horizon,
        "limits": Limits(
            max_num_seqs=draw(st.integers(1, 12)),
            max_num_batched_tokens=budget,
            max_model_len=2 * longest,
            num_gpu_blocks=blocks,
            block_size=block_size,
        ),
    }


def traffic(case):
    return Workload(
        "random", case["arrivals"], case["prompts"], case["outputs"], max(case["outputs"]), "hypothesis"
    )


def fast(case):
    return simulate(
        traffic(case),
        colocated(
            lambda: POLICIES[case["policy"]](**case["options"]),
            case["cost"],
            case["limits"],
            RoundRobin(),
            rules=native(lambda: POLICIES[case["policy"]](**case["options"])),
            horizon_s=case["horizon"],
        ),
    )


def made(case):
    """Return a plain server of a scenario, and its jobs."""
    limits = case["limits"]
    server = PlainServer(
        case["policy"],
        case["options"],
        case["cost"],
        max_seqs=limits.max_num_seqs,
        budget=limits.max_num_batched_tokens,
        blocks=limits.num_gpu_blocks - native(POLICIES[case["policy"]]).null_blocks,
        block_size=limits.block_size,
    )
    longest = limits.max_model_len
    jobs = [
        PlainJob(
            i, arrival, prompt, min(output, longest - prompt), min(max(case["outputs"]), longest - prompt)
        )
        for i, (arrival, prompt, output) in enumerate(
            zip(case["arrivals"], case["prompts"], case["outputs"], strict=True)
        )
    ]
    return server, jobs


def plain(case):
    server, jobs = made(case)
    depth = 2 if case["options"].get("async_scheduling") else 1
    arrived = plain_run(server, jobs, depth, case["horizon"] or float("inf"))
    return server, jobs[:arrived]


@settings(max_examples=examples(300), deadline=None)
@given(scenarios())
def test_engine_equals_plain_stepper(case):
    outcome = fast(case)
    server, jobs = plain(case)
    tables = outcome.tables
    for index, name in enumerate(STEP_COLUMNS[:-1]):
        assert tables.steps[name].tolist() == [step[index] for step in server.steps], name
    tokens = tables.tokens
    assert tokens["request_id"].tolist() == [job.id for job in jobs for _ in job.token_times]
    assert tokens["token_index"].tolist() == [i + 1 for job in jobs for i in range(len(job.token_times))]
    assert tokens["generated_s"].tolist() == [t for job in jobs for t in job.token_times]
    assert tokens["step"].tolist() == [s for job in jobs for s in job.token_steps]
    requests = tables.requests
    states = [RequestState(code).name.lower() for code in requests["state"]]
    if case["horizon"] is None:
        assert states == [job.state for job in jobs]
        assert requests["preemptions"].tolist() == [job.preemptions for job in jobs]


def test_the_comparison_sees_a_difference():
    """Guards the guard: one token more in one request must show."""
    case = {
        "arrivals": np.array([0.0, 0.1]),
        "prompts": [5, 7],
        "outputs": [3, 4],
        "policy": "vllm_v1",
        "options": {"async_scheduling": False},
        "cost": RaggedCost(),
        "horizon": None,
        "limits": Limits(4, 16, 32, 100, 4),
    }
    _, jobs = plain(case)
    case["outputs"] = [3, 5]
    assert fast(case).tables.tokens["generated_s"].tolist() != [t for job in jobs for t in job.token_times]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_is_compared(policy):
    assert hasattr(PlainServer, policy)
