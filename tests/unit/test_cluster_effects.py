"""What policies around scheduling are known for, as ratios, on the prices of real GPUs."""

import numpy as np
import pytest

from tests.served import CHAT, served

FOUR = {"replicas": 4}
SEATS = {"gpu": "a100-80gb-sxm", "engine": {"max_num_seqs": 64}}
# Four replicas that are short of KV now and then: the hour of conversations at nine times its rate
UNEVEN = {
    "cluster": FOUR,
    "engine": {"num_gpu_blocks": 4000, "max_model_len": 16_000},
    "workload": {"trace": "azure2023_conv", "limit": 2000, "rate_scale": 9.0},
}
SUMMARIES = {"arrivals": "poisson", "lengths": "arxiv_summarization_4k"}


def chat(rate_rps, requests, **more):
    return {**CHAT, "rate_rps": rate_rps, "requests": requests, **more}


def p99_ttft_s(run):
    return np.quantile(run.ttft_s, 0.99)


def uneven(**policy):
    return served(**UNEVEN, policy=policy)


# Routing


@pytest.mark.parametrize("router", ["power_of_two", "least_loaded", "slo_aware", "llumnix"])
def test_a_look_at_load_shortens_the_tail_of_the_wait(router):
    """Mitzenmacher 2001 for two choices; against a replica at random."""
    assert p99_ttft_s(uneven(routing=router)) < 0.5 * p99_ttft_s(uneven(routing="random"))


def test_round_robin_spreads_better_than_chance():
    assert p99_ttft_s(uneven(routing="round_robin")) < 0.8 * p99_ttft_s(uneven(routing="random"))


def hit_share(routing, **sections):
    caching = {"name": "vllm_v1", "enable_prefix_caching": True}
    run = served(caching, cluster=FOUR, policy={"routing": routing}, **sections)
    return run.summary["engine"]["prefix_hit_share"], run.ttft_s.mean()


@pytest.mark.parametrize("index", ["approximate", "oracle"])
def test_prefix_affinity_raises_the_hit_rate(index):
    """Zheng et al., arXiv 2312.07104: two hundred long system prompts, more than one replica sees soon."""
    shared = {"workload": chat(60.0, 1500, shared_prefixes=200, shared_prefix_tokens=1500)}
    hits, ttft_s = hit_share({"name": "prefix_affinity", "index": index}, **shared)
    other_hits, other_ttft_s = hit_share("round_robin", **shared)
    assert hits > 1.7 * other_hits
    assert ttft_s < other_ttft_s


@pytest.mark.parametrize("router", ["session_affinity", "prefix_affinity"])
def test_a_conversation_finds_its_past_where_it_was_before(router):
    turns = {"trace": "sharegpt_multiturn", "limit": 800, "think_s": 2.0, "rate_rps": 10.0}
    hits, ttft_s = hit_share(router, workload=turns)
    other_hits, other_ttft_s = hit_share("round_robin", workload=turns)
    assert hits > 1.2 * other_hits
    assert ttft_s < 0.8 * other_ttft_s


# Admission and abandonment


OVERLOAD = {**SEATS, "workload": chat(25.0, 1000)}


def in_time(**policy):
    """Requests that got their first token within 2 s."""
    return (served(**OVERLOAD, policy=policy).ttft_s <= 2.0).sum()


@pytest.mark.parametrize(
    "policy",
    [
        {"admission": {"name": "early_reject", "ttft_s": 2.0}},
        {"admission": {"name": "queue_cap", "max_waiting": 16}},
        {"abandonment": {"name": "missed_slo", "ttft_s": 2.0}},
    ],
    ids=lambda policy: next(iter(policy.values()))["name"],
)
def test_who_would_be_late_is_refused_or_dropped_for_several_times_the_goodput(policy):
    """Qin et al., "Mooncake" (early rejection); dropping: the incentive of classic goodput, arXiv 2410.14257."""
    assert in_time(**policy) > 3 * in_time()


def test_early_reject_keeps_the_pace_of_those_it_takes():
    """With a bound on the time between tokens, which the load of the decodes decides, and ample KV."""
    beyond = {"model": "qwen-2.5-14b", "engine": {"num_gpu_blocks": 100_000}, "workload": chat(60.0, 1200)}
    paced, none = (
        served(**beyond, policy={"admission": {"name": "early_reject", "tbt_s": tbt_s}})
        for tbt_s in (0.03, 0.0)
    )
    assert np.median(paced.gaps_s) < 0.033 < np.median(none.gaps_s)
    assert paced.idle_s < 0.3 * none.idle_s


def test_a_token_bucket_lets_its_rate_through():
    rate = 3000.0
    run = served(
        **OVERLOAD,
        policy={"admission": {"name": "token_bucket", "rate_tokens_per_s": rate, "burst_tokens": 20_000.0}},
    )
    requests = run.requests
    let_in = requests["state"] != "rejected"
    tokens = (requests["prompt_tokens"] + requests["output_tokens"])[let_in].sum()
    assert 0.8 < tokens / (20_000.0 + rate * requests["arrival_s"].max()) <= 1.0
    assert 0.1 < (~let_in).mean() < 0.9


# Migration and roles


@pytest.mark.parametrize("policy", ["llumnix", "token_slack"])
def test_moving_requests_from_where_kv_is_short_saves_preemptions_and_queueing(policy):
    """Sun et al., OSDI 2024: tail of the first token, and preemptions."""
    moved, stay = uneven(migration=policy), uneven()
    assert moved.requests["preemptions"].sum() < 0.7 * stay.requests["preemptions"].sum()
    assert p99_ttft_s(moved) < 0.8 * p99_ttft_s(stay)


def test_tbt_chasing_moves_by_the_length_of_steps_and_saves_next_to_nothing():
    """Our own straw man: no more than a fifth of the preemptions."""
    chased, stay = uneven(migration="tbt_chasing"), uneven()
    assert len(chased.result.transfers()) > 0
    assert chased.requests["preemptions"].sum() > 0.8 * stay.requests["preemptions"].sum()


def test_roles_that_follow_the_load_shorten_the_wait_where_prompts_are_the_work():
    apart = {"replicas": 1, "prefill": {"replicas": 2}, "decode": {"replicas": 2}}
    waits_s = [
        served(
            gpu="a100-80gb-sxm",
            cluster=apart,
            workload={**SUMMARIES, "rate_rps": 14.0, "requests": 400},
            policy={"roles": roles},
        ).ttft_s.mean()
        for roles in ("by_load", "fixed")
    ]
    assert waits_s[0] < 0.5 * waits_s[1]


# Scaling


SCALERS = {
    "target_concurrency": {"name": "target_concurrency", "requests": 40.0},
    "target_utilisation": {"name": "target_utilisation", "utilisation": 0.05, "interval_s": 2.0},
    "queue_length": {"name": "queue_length", "interval_s": 2.0},
    "schedule": {"name": "schedule", "at_s": [0.0], "replicas": [4], "interval_s": 2.0},
}


@pytest.mark.parametrize("scaler", SCALERS)
def test_replicas_that_come_when_they_are_needed_shorten_the_wait(scaler):
    scaling = {"max_replicas": 4, "provision_s": 3.0, "load_s": 1.0}
    grown = served(
        **SEATS,
        cluster={"replicas": 1, "scaling": scaling},
        workload=chat(40.0, 1200),
        policy={"scaling": SCALERS[scaler]},
    )
    alone = served(**SEATS, workload=chat(40.0, 1200))
    assert grown.ttft_s.mean() < 0.4 * alone.ttft_s.mean()


# Delivery


def test_deliveries_change_when_readers_get_what_was_generated_at_the_same_times():
    """Pacing hides stalls from the time between tokens and from no reader; batches and networks make it worse."""
    stalls = {
        "gpu": "a100-80gb-sxm",
        "model": "qwen-2.5-14b",
        "workload": {**SUMMARIES, "rate_rps": 1.5, "requests": 100},
    }
    runs = {
        name: served(**stalls, policy={"delivery": name})
        for name in ("immediate", "paced", "batched", "jitter")
    }
    p99_s = {name: np.quantile(run.gaps_s, 0.99) for name, run in runs.items()}
    assert p99_s["paced"] < 0.8 * p99_s["immediate"]
    assert p99_s["immediate"] < p99_s["jitter"] < p99_s["batched"]
    assert runs["paced"].idle_s == pytest.approx(runs["immediate"].idle_s)
    assert runs["batched"].idle_s > runs["jitter"].idle_s > runs["immediate"].idle_s
