"""What the engine tests share: cost models of known shape and random scenarios for any policy."""

import math

import numpy as np
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from simulator.discover import discover, load
from simulator.engine import Limits, Outcome, simulate
from simulator.workload.workload import Workload

SCHEDULING = discover("scheduling")
ROUTING = discover("routing")


class RaggedCost:
    """Prices with all the digits a double has, so that any other order of additions would show."""

    def step_s(self, shape):
        return (
            0.0041
            + 6.1e-5 * shape.prefill_tokens
            + 1.3e-8 * shape.prefill_attention_pairs
            + 1.7e-5 * shape.decode_seqs
            + 2.3e-8 * shape.decode_context_tokens
        )


class EvenCost:
    """Every step lasts the same; arrivals on the same grid tie with step ends."""

    def __init__(self, step_s=0.25):
        self.duration_s = step_s

    def step_s(self, shape):
        return self.duration_s


def workload(arrivals, prompts, outputs, max_tokens=None):
    return Workload("test", arrivals, prompts, outputs, max_tokens or max(outputs), "a test")


def serve(policy, arrivals, prompts, outputs, *, limits=None, cost=None, router=None, **options) -> Outcome:
    """Run ``policy`` (an instance factory or class) on a few requests with ample limits."""
    return simulate(
        workload(arrivals, prompts, outputs),
        scheduler=policy,
        cost=cost or RaggedCost(),
        limits=limits or Limits(64, 4096, 4096, 10_000, 16),
        router=router or RoundRobin(),
        **options,
    )


@st.composite
def scenarios(draw, policies=SCHEDULING):
    """A random scenario: few blocks, ties, horizons and several replicas all happen often."""
    n = draw(st.integers(1, 40))
    longest = draw(st.sampled_from([6, 20, 60]))
    lengths = st.lists(st.integers(1, longest), min_size=n, max_size=n)
    ties = draw(st.booleans())
    gap = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.75]) if ties else st.floats(0, 0.2)
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    least = math.ceil(2 * longest / block_size) + 2  # the largest request alone, and a block to spare
    policy = load("scheduling", draw(st.sampled_from(policies)))()
    splits = policy.splits_prompts()
    return {
        "workload": workload(
            np.cumsum(draw(st.lists(gap, min_size=n, max_size=n))), draw(lengths), draw(lengths)
        ),
        "policy": policy,
        "cost": EvenCost() if ties else RaggedCost(),
        "horizon_s": draw(st.sampled_from([None, None, 0.75, 3.3])),
        "replicas": draw(st.sampled_from([1, 1, 2, 3])),
        "routing": draw(st.sampled_from(ROUTING)),
        "limits": Limits(
            max_num_seqs=draw(st.integers(1, 12)),
            max_num_batched_tokens=draw(st.integers(1 if splits else 2 * longest, 6 * longest)),
            max_model_len=2 * longest,
            num_gpu_blocks=draw(st.sampled_from([least, least + 1, least + least // 2, 3 * least, 10_000])),
            block_size=block_size,
        ),
    }


def play(case) -> Outcome:
    """Simulate a scenario of ``scenarios``."""
    return simulate(
        case["workload"],
        scheduler=lambda: case["policy"],
        cost=case["cost"],
        limits=case["limits"],
        router=load("routing", case["routing"])(),
        replicas=case["replicas"],
        horizon_s=case["horizon_s"],
    )
