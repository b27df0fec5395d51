"""What each scheduler is known for, as ratios, on the prices of real GPUs and the same engine for all."""

import numpy as np
import pytest

from tests.engine_cases import SCHEDULING
from tests.served import CHAT, served

AMPLE = {"num_gpu_blocks": 100_000}
SHORT = {"num_gpu_blocks": 2200, "max_model_len": 16_000}


def chat(rate_rps, requests, **more):
    return {**CHAT, "rate_rps": rate_rps, "requests": requests, **more}


@pytest.mark.parametrize(("gpu", "capacity_rps"), [("h100-80gb-sxm", 40.0), ("a100-80gb-sxm", 10.5)])
def test_with_ample_kv_schedulers_deliver_different_tokens(gpu, capacity_rps):
    """Ten of fifteen at 1.2 times what the engine completes, however much is offered."""
    traffic = chat(1.2 * capacity_rps, 500)
    times = {
        served(name, gpu=gpu, model="qwen-2.5-14b", engine=AMPLE, workload=traffic).token_times.tobytes()
        for name in SCHEDULING
    }
    assert len(times) >= 10


def tokens_per_s(run):
    requests = run.requests
    return requests["delivered_tokens"].sum() / requests["end_s"].max()


def p99_gap_s(run):
    return np.quantile(run.gaps_s, 0.99)


def mean_e2e_s(scheduling, **sections):
    return served(scheduling, **sections).e2e_s.mean()


def mean_qoe(run):
    return run.summary["qoe"]["qoe"]["mean"]


def test_orca_joins_and_leaves_at_every_step_for_several_times_the_throughput_of_static_batches():
    """Yu et al., OSDI 2022: 36.9 times FasterTransformer's at the same latency, for a model of 175 B."""
    beyond = {"workload": chat(100.0, 400)}
    assert tokens_per_s(served("orca", **beyond)) > 3 * tokens_per_s(served("static", **beyond))


@pytest.mark.parametrize("paged", ["vllm_v1", "vllm_v0", "continuous"])
def test_blocks_taken_when_needed_give_twice_the_throughput_of_reserving_the_longest_output(paged):
    """Kwon et al., SOSP 2023: 2 to 4 times Orca's requests/s at the same latency."""
    beyond = {"workload": chat(60.0, 800), "engine": SHORT}
    assert tokens_per_s(served(paged, **beyond)) > 2 * tokens_per_s(served("orca", **beyond))


@pytest.mark.parametrize("chunked", ["sarathi", "vllm_v1"])
def test_chunks_beside_the_decodes_bound_the_tail_of_the_time_between_tokens(chunked):
    """Agrawal et al., OSDI 2024: prompts computed whole stall decodes for as long as they take."""
    prompts = {"arrivals": "poisson", "lengths": "arxiv_summarization_4k", "rate_rps": 6.0, "requests": 150}
    long = {"gpu": "a100-80gb-sxm", "workload": prompts}
    assert p99_gap_s(served("vllm_v0", **long)) > 3 * p99_gap_s(served(chunked, **long))


def test_sglang_computes_shared_beginnings_once():
    """Zheng et al., arXiv 2312.07104."""
    shared = {"workload": chat(40.0, 400, shared_prefixes=20, shared_prefix_tokens=3000)}
    tree, none = (served({"name": "sglang", "disable_radix_cache": off}, **shared) for off in (False, True))
    assert (
        tree.result.steps()["prefill_tokens"].to_numpy().sum()
        < 0.3 * none.result.steps()["prefill_tokens"].to_numpy().sum()
    )
    assert p99_gap_s(tree) < 0.8 * p99_gap_s(none)


@pytest.mark.parametrize("short", [{"max_num_seqs": 16}, {"max_num_seqs": 24}])
def test_fastserve_keeps_short_requests_from_waiting_for_long_ones(short, tmp_path):
    """Wu et al., arXiv 2305.05920: mean completion against first come, first served (head-of-line blocking)."""
    draw, trace = np.random.default_rng(1), tmp_path / "heavy.csv"
    arrivals_s = np.cumsum(draw.exponential(0.6 / short["max_num_seqs"], 600))
    outputs = np.where(draw.random(600) < 0.05, 2000, draw.integers(5, 40, 600))
    rows = [f"{at:.4f},100,{tokens}" for at, tokens in zip(arrivals_s, outputs, strict=True)]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]))
    blocked = {"engine": short, "workload": {"trace": str(trace)}}
    assert mean_e2e_s("fastserve", **blocked) < 0.7 * mean_e2e_s("continuous", **blocked)


SETTINGS = {
    "KV short": {"engine": SHORT, "workload": chat(50.0, 1000)},
    "seats short": {"gpu": "a100-80gb-sxm", "engine": {"max_num_seqs": 64}, "workload": chat(16.0, 1200)},
    "step time short": {"model": "qwen-2.5-14b", "engine": AMPLE, "workload": chat(70.0, 1500)},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_shortest_first_lowers_the_mean_completion_time(setting):
    """Shahout et al., arXiv 2410.01035 (SRPT); Qiu et al., arXiv 2404.08509 (SJF): against first come, first served.

    With the lengths known, and preemption limited by what it costs, SRPT is not behind SJF anywhere.
    """
    first, job, remaining = (mean_e2e_s(name, **SETTINGS[setting]) for name in ("continuous", "sjf", "srpt"))
    assert job < 0.9 * first
    assert remaining < 0.9 * first
    assert remaining <= 1.01 * job


@pytest.mark.parametrize("policy", ["edf", "least_slack"])
def test_the_earliest_deadline_first_keeps_readers_from_waiting_where_kv_is_short(policy):
    run = served(policy, **SETTINGS["KV short"])
    assert run.idle_s < 0.3 * served("continuous", **SETTINGS["KV short"]).idle_s


THRASHING = {
    **SETTINGS,
    "long outputs": {
        "gpu": "a100-80gb-sxm",
        "model": "qwen-2.5-14b",
        "workload": {
            "arrivals": "poisson",
            "lengths": "translation_bwb_4k",
            "rate_rps": 2.5,
            "requests": 400,
        },
    },
}


@pytest.mark.parametrize("policy", ["edf", "least_slack"])
@pytest.mark.parametrize("setting", THRASHING)
def test_deadlines_do_not_thrash(policy, setting):
    """Beyond capacity, by the default margin and a small one: fewer preemptions than two a request."""
    default, small = (
        served({"name": policy, **options}, **THRASHING[setting]) for options in ({}, {"margin_s": 0.5})
    )
    for run in (default, small):
        assert run.requests["preemptions"].sum() < 2 * len(run.requests["state"])
    goodput = [run.summary["smooth_goodput"]["smooth_goodput_tokens_per_s"] for run in (default, small)]
    assert goodput[0] >= goodput[1] - 1.0


def test_vtc_bounds_what_a_greedy_tenant_takes_from_another():
    """Sheng et al., OSDI 2024: nine tenths of the requests are of one tenant, and the engine is overloaded."""
    overload = chat(30.0, 500, tenants=[0.9, 0.1])
    waits_s = {}
    for policy in ("vtc", "continuous"):
        requests = served(
            policy, gpu="a100-80gb-sxm", engine={"max_num_seqs": 64}, workload=overload
        ).requests
        wait_s = requests["first_token_s"] - requests["arrival_s"]
        waits_s[policy] = [wait_s[requests["tenant"] == tenant].mean() for tenant in (0, 1)]
    assert waits_s["vtc"][1] < 0.1 * waits_s["continuous"][1]
    assert waits_s["vtc"][0] < 1.5 * waits_s["continuous"][0]


@pytest.mark.parametrize("short", ["KV", "seats"])
def test_andes_raises_the_mean_qoe_under_load(short):
    """Liu et al., arXiv 2404.16283: who is ahead of the reader makes way for who is about to idle."""
    setting = {
        "KV": {"engine": {**SHORT, "swap_space": 16.0}, "workload": chat(60.0, 600)},
        "seats": {
            "gpu": "a100-80gb-sxm",
            "engine": {"max_num_seqs": 64, "swap_space": 16.0},
            "workload": chat(18.0, 600),
        },
    }[short]
    assert mean_qoe(served("andes", **setting)) > 1.1 * mean_qoe(served("continuous", **setting))


def test_slos_serve_keeps_its_load_within_bounds_that_others_break():
    """Chen et al., arXiv 2504.08784: 2.2 times the requests/s of a GPU with their SLOs."""
    beyond = {"workload": chat(90.0, 800), "slo": {"ttft_s": 0.5, "tpot_s": 0.015}}
    kept = {
        name: served(name, **beyond).summary["slo"]["goodput_requests_per_s"]
        for name in ("vllm_v1", "sarathi", "slos_serve")
    }
    assert kept["slos_serve"] > 2.2 * max(kept["vllm_v1"], kept["sarathi"])


LONG = {"arrivals": "poisson", "rate_rps": 12.0, "requests": 300, "prompt_tokens": 2000, "output_tokens": 200}


@pytest.mark.parametrize("tbt_s", [0.02, 0.05])
def test_muxwise_keeps_every_time_between_tokens_below_its_target(tbt_s):
    """Whole prompts stall decodes for as long as they take; layers beside them do not (arXiv 2504.14489)."""
    served_in_time = served({"name": "muxwise", "tbt_target_s": tbt_s}, workload=LONG)
    assert served_in_time.gaps_s.max() <= tbt_s + 1e-9
    assert served("vllm_v0", workload=LONG).gaps_s.max() > 4 * tbt_s


def test_sglangs_groups_of_sms_keep_decodes_going_beside_prompts():
    assert 2 * p99_gap_s(served("pdmux_sglang", workload=LONG)) < p99_gap_s(served("vllm_v1", workload=LONG))
