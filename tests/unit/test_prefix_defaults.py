"""Prefixes are kept where the engine keeps them, and what goes unused is said."""

import pytest

from simulator import Scenario, run
from simulator.report.report import report

SHARED = {"arrivals": "burst", "requests": 8, "prompt_tokens": 64, "output_tokens": 3, "shared_prefixes": 1,
          "shared_prefix_tokens": 320}  # fmt: skip
OFF = {"name": "vllm_v1", "enable_prefix_caching": False}
UNUSED = "prompts begin alike, which goes unused"


def served(policy, workload, **engine):
    result = run(
        Scenario(policy={"scheduling": policy}, workload=workload, cluster={"replicas": 1}, engine=engine)
    )
    return result, str(report(result.manifest, result.summary()))


@pytest.mark.parametrize("policy", ["vllm_v1", {"name": "vllm_v1", "engine_version": "0.11.0"}, "sglang"])
def test_engines_that_keep_prefixes_do_so_unless_told(policy):
    result, text = served(policy, SHARED, max_num_seqs=2)
    assert result.summary()["engine"]["prefix_hit_share"] > 0.5
    assert UNUSED not in text


@pytest.mark.parametrize(
    ("policy", "more"),
    [
        (OFF, "vllm_v1 keeps no prefixes, as its enable_prefix_caching is off"),
        ("vllm_v0", "vllm_v0 keeps no prefixes; all"),
        ("sarathi", "sarathi keeps no prefixes; all"),
    ],
)
def test_what_goes_unused_is_said(policy, more):
    _, text = served(policy, SHARED)
    assert UNUSED in text
    assert more in text


def test_nothing_is_said_of_traffic_that_shares_nothing():
    own = {"arrivals": "burst", "requests": 8, "prompt_tokens": 64, "output_tokens": 3}
    for policy in (OFF, "sarathi"):
        assert UNUSED not in served(policy, own)[1]


def test_hits_of_the_preempted_are_no_sharing():
    """vllm-project/vllm#25780 in the small: random prompts, more than the KV cache holds."""
    own = {"arrivals": "burst", "requests": 12, "prompt_tokens": 512, "output_tokens": 256}
    result, text = served("vllm_v1", own, num_gpu_blocks=200, max_model_len=1024)
    engine = result.summary()["engine"]
    assert engine["preemptions"] > 0
    assert engine["prefix_hit_share"] == 0
    assert engine["prefix_looked_up_tokens"] == 12 * 512
    assert 0 < engine["prefix_found_again_tokens"] < engine["prefix_looked_up_again_tokens"]
    columns = result.requests()
    assert sum(columns["cached_tokens"].to_pylist()) == 0
    assert sum(columns["found_again_tokens"].to_pylist()) == engine["prefix_found_again_tokens"]
    assert f"they found {engine['prefix_found_again_tokens']:,} of their own" in text


def test_without_a_preemption_all_hits_are_sharing():
    result, text = served("vllm_v1", SHARED, max_num_seqs=2)
    engine = result.summary()["engine"]
    assert (engine["prefix_found_again_tokens"], engine["prefix_looked_up_again_tokens"]) == (0, 0)
    assert "preempted requests looked up" not in text
    assert sum(result.requests()["cached_tokens"].to_pylist()) == engine["prefix_hit_tokens"]
