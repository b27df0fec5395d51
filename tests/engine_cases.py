"""What the engine tests share: cost models of known shape and random scenarios for any policy."""

import math

import numpy as np
from hypothesis import strategies as st

from hardware_profiles import list_engines, load_engine, native_rules
from policies.routing.round_robin import RoundRobin
from simulator.cluster import simulate as engine
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import Outcome, simulate
from simulator.replica.limits import Limits
from simulator.scenario.discover import discover, load
from simulator.workload.workload import Workload

ENGINES = [load_engine(name).engine_rules for name in list_engines()]
PROTOTYPE = load_engine("prototype").engine_rules
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

    def decode_piece(self, seqs, context_tokens):
        """The same line cut into short pieces."""
        low = context_tokens - context_tokens % 50
        return low, low + 50, 0.0041 + 1.7e-5 * seqs, 2.3e-8


class EvenCost:
    """Every step lasts the same; arrivals on the same grid tie with step ends."""

    def __init__(self, step_s=0.25):
        self.duration_s = step_s

    def step_s(self, shape):
        return self.duration_s


def workload(arrivals, prompts, outputs, max_tokens=None):
    return Workload("test", arrivals, prompts, outputs, max_tokens or max(outputs), "a test")


def native(policy):
    """The rules of the engine that a policy (what makes it) is named after; of a test's own, a prototype's."""
    made = policy()
    return native_rules(made) if made.native_engine() else PROTOTYPE


def serve(policy, arrivals, prompts, outputs, *, limits=None, cost=None, router=None, **options) -> Outcome:
    """Run ``policy`` (an instance factory or class) on a few requests with ample limits."""
    seen = {key: options.pop(key) for key in ("on_progress", "should_stop") if key in options}
    deployment = colocated(
        policy,
        cost or RaggedCost(),
        limits or Limits(64, 4096, 4096, 10_000, 16),
        router or RoundRobin(),
        rules=options.pop("rules", None) or native(policy),
        **options,
    )
    return simulate(workload(arrivals, prompts, outputs), deployment, **seen)


# Beside the defaults of every policy found, what some of them can be told to do differently.
VARIANTS = {
    "vllm_v1": [
        {"async_scheduling": False},
        {"engine_version": "0.11.0"},
        {"engine_version": "0.11.0", "enable_chunked_prefill": False},
        {"policy": "priority"},
        {"policy": "priority", "async_scheduling": False, "scheduler_reserve_full_isl": False},
        {"enable_prefix_caching": False},
        {"enable_prefix_caching": False, "async_scheduling": False, "policy": "priority"},
        {"long_prefill_token_threshold": 7, "watermark": 0.1},
    ],
    "vllm_v0": [
        {"preemption_mode": "swap"},
        {"enable_chunked_prefill": True},
        {"enable_chunked_prefill": True, "preemption_mode": "swap"},
        {"scheduler_delay_factor": 0.5},
    ],
    "sglang": [
        {"disable_overlap_schedule": True},
        {"disable_radix_cache": True},
        {"disable_radix_cache": True, "disable_overlap_schedule": True, "ignore_eos": True},
        {"schedule_policy": "lpm", "chunked_prefill_size": 8},
        {"schedule_policy": "dfs-weight", "enable_mixed_chunk": True, "disable_overlap_schedule": True},
        {"schedule_policy": "lof", "enable_mixed_chunk": True, "chunked_prefill_size": 8},
        {"schedule_policy": "random", "chunked_prefill_size": "off", "max_prefill_tokens": 30},
        {"enable_priority_scheduling": True, "priority_scheduling_preemption_threshold": 1},
        {
            "enable_priority_scheduling": True,
            "priority_scheduling_preemption_threshold": 1,
            "schedule_policy": "lof",
            "enable_mixed_chunk": True,
            "disable_overlap_schedule": True,
            "schedule_conservativeness": 0.05,
        },
    ],
}
VARIANTS |= {
    "continuous": [
        {"trigger": "tbt", "tbt_s": 0.0042},
        {"trigger": "tbt", "tbt_s": 0.00416, "preemption": "swap"},
        {"trigger": "due", "pause_s": 0.05},
        {"trigger": "due", "pause_s": 0.0, "preemption": "swap"},
        {"preemption": "swap"},
        {"preemption": "cheapest", "victim": "most_slack"},
        {"preemption": "swap", "victim": "least_progress", "watermark": 0.2},
    ],
    "sarathi": [{"chunk_size": 5}, {"tbt_target_s": 0.005}],
    "sjf": [{"batch_size": 2}],
    "srpt": [{"batch_size": 2, "limit": 0.3}],
    "edf": [{"margin_s": 0.01}, {"margin_s": 0.1, "hold_margin_s": 0.05}],
    "least_slack": [{"margin_s": 0.01}],
    "fastserve": [
        {"batch_size": 2, "starvation_steps": 3, "starvation_s": 0.1},
        {"batch_size": 1, "proactive": False},
    ],
    "smooth": [
        {"async_scheduling": False},
        {"f": "quadratic"},
        {"f": "step", "origin": "first_token"},
        {"f": "hinge", "f_scale_s": 0.5},
    ],
    "adaserve": [{"verify_tokens": 9, "least_depth": 1}, {"need": "slack", "most_width": 1}],
    "muxwise": [{"tbt_target_s": 0.005, "enable_prefix_caching": False}, {"tbt_target_s": 0.006}],
    "pdmux_sglang": [{"divisions": "h200", "split_forward_token_budget": 20, "disable_radix_cache": True}],
    "andes": [{"interval": 1}, {"preemption": "recompute", "max_preemptions": 3, "interval": 2}],
}
CHOICES = [(name, options) for name in SCHEDULING for options in ({}, *VARIANTS.get(name, ()))]


@st.composite
def scenarios(draw, choices=tuple(CHOICES), tight=False, rules=None):
    """A random scenario: few blocks, ties, horizons, departures and several replicas all happen often.

    On the engine that the policy is named after, unless ``rules`` are given.
    """
    n = draw(st.integers(1, 40))
    longest = draw(st.sampled_from([6, 20, 60]))
    lengths = st.lists(st.integers(1, longest), min_size=n, max_size=n)
    prompts, outputs = draw(lengths), draw(lengths)
    ties = draw(st.booleans())
    gap = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.75]) if ties else st.floats(0, 0.2)
    arrivals = np.cumsum(draw(st.lists(gap, min_size=n, max_size=n)))
    patience = draw(st.sampled_from([np.nan, np.nan, 0.0, 0.3, 1.5]))
    traffic = Workload(
        "test",
        arrivals,
        prompts,
        outputs,
        max(outputs),
        "a test",
        priority=np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))),
        leave_s=arrivals + patience * np.array(draw(lengths)) / longest,
        segments=[[(0, min(prompt, longest // 2)), (i + 1, prompt)] for i, prompt in enumerate(prompts)],
        output_stream=np.arange(n) + 1,
    )
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    least = math.ceil(2 * longest / block_size) + 2  # the largest request alone, and a block to spare
    name, options = draw(st.sampled_from(choices))
    policy = load("scheduling", name)
    if rules is None:
        rules = native(lambda: policy(**options))
    else:
        least += rules.null_blocks
    splits = policy(**options).splits_prompts()
    return {
        "workload": traffic,
        "policy": lambda: policy(**options),
        "rules": rules,
        "cost": EvenCost() if ties else RaggedCost(),
        "horizon_s": draw(st.sampled_from([None, None, 0.75, 3.3])),
        "replicas": draw(st.sampled_from([1, 1, 2, 3])),
        "routing": draw(st.sampled_from(ROUTING)),
        "limits": Limits(
            max_num_seqs=draw(st.integers(1, 12)),
            max_num_batched_tokens=draw(st.integers(1 if splits else 2 * longest, 6 * longest)),
            max_model_len=2 * longest,
            num_gpu_blocks=draw(
                st.sampled_from(
                    [least, least + 1, *(() if tight else (least + least // 2, 3 * least, 10_000))]
                )
            ),
            block_size=block_size,
            num_cpu_blocks=draw(st.sampled_from([0, least, 100 * least])),
            stop_tokens=draw(st.booleans()),
        ),
    }


def play(case) -> tuple[Cluster, Outcome]:
    """Simulate a scenario of ``scenarios``; return what is left of the cluster beside the outcome."""
    deployment = colocated(
        case["policy"],
        case["cost"],
        case["limits"],
        load("routing", case["routing"])(),
        replicas=case["replicas"],
        rules=case["rules"],
        horizon_s=case["horizon_s"],
    )
    cluster = engine.assemble(case["workload"], deployment)
    interrupted, stalled = engine.play(cluster)
    tables, end_s = engine.unfold(cluster)
    return cluster, Outcome(tables, end_s, interrupted, stalled)
