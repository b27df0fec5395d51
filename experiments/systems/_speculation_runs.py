"""What the study of speculation simulates: servers, ways to draft, readers; and what is measured of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.paper._reproduce import Study
from experiments.paper._scenarios import base_scenario
from experiments.systems._measured import Key, Numbers, gathered
from simulator.arrays import Floats
from simulator.metrics._options import UserModel
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario

Loads = dict[tuple[str, float, str], Numbers]  # by server, rate and way to draft

ARRIVALS_S = 40.0  # of each run, half of it in quick mode
# Rates up to beyond what each server serves, requests/s; the first and the fourth are public evidence's
SERVERS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "8B, one H100": ({"hardware.model": "llama-3.1-8b"}, (1, 8, 16, 32, 48, 64, 80, 96, 128)),
    "70B, four H100": (
        {"hardware.model": "llama-3.1-70b", "engine.tensor_parallel_size": 4},
        (1, 4, 8, 16, 24, 32, 40),
    ),
}
PLAIN, SMALL = "no drafts", "8B, one H100"
# The curves were measured with Llama-3.1-8B on MT-bench; for 70B they are an assumption.
DRAFTERS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "EAGLE": {"speculation.method": "eagle", "speculation.num_speculative_tokens": 3},
    "EAGLE-3": {"speculation.method": "eagle3", "speculation.num_speculative_tokens": 3},
    "EAGLE-3, by batch": {  # vLLM's example, docs of num_speculative_tokens_per_batch_size
        "speculation.method": "eagle3",
        "speculation.num_speculative_tokens_per_batch_size": [[16, 5], [32, 4], [64, 3], [128, 1]],
    },
}
# A match in a fifth of the steps, as measured on ShareGPT, and the measured 1.45 tokens a step with k = 5
NGRAM: dict[str, Any] = {
    "speculation.method": "ngram",
    "speculation.num_speculative_tokens": 5,
    "policy.acceptance": {"name": "match", "found": 0.2, "first": 0.7, "rate": 0.8},
}
# The paper's reader, one of 20 tokens/s, and a program that takes 100; alpha of the last two is one reading rate
READERS = {
    "5 tokens/s": UserModel(v_s_per_token=0.2, alpha=2.5),
    "20 tokens/s": UserModel(v_s_per_token=0.05, alpha=20.0),
    "100 tokens/s": UserModel(v_s_per_token=0.01, alpha=100.0),
}
TOLD = "20 tokens/s"  # what policies are told of their readers


def scenario(study: Study, server: str, rate_rps: float, seed: int, *more: Mapping[str, Any]) -> Scenario:
    """Return a server under chat traffic (ShareGPT's lengths, Poisson arrivals)."""
    span_s = ARRIVALS_S / 2 if study.quick else ARRIVALS_S
    user = READERS[TOLD]
    overrides: dict[str, Any] = {"user.v_s_per_token": user.v_s_per_token, "user.alpha": user.alpha}
    for each in (SERVERS[server][0], *more):
        overrides |= each
    return base_scenario(
        rate_rps=rate_rps, requests=max(30, round(rate_rps * span_s)), seed=seed, overrides=overrides
    )


def clients(study: Study, count: int, seed: int, *more: Mapping[str, Any]) -> Scenario:
    """Return the small server with so many clients, each waiting for its answer; the same requests for all."""
    overrides: dict[str, Any] = {}
    for each in more:
        overrides |= each
    requests = max(60, (4 if study.quick else 8) * count)
    chat = base_scenario(rate_rps=1.0, requests=requests, seed=seed, overrides=overrides)
    workload = {"arrivals": "burst", "lengths": "chat_sharegpt_vllm", "requests": requests}
    return Scenario(**{**chat.model_dump(), "workload": {**workload, "concurrency": count}})


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    found: dict[str, float] = {}
    for name, user in READERS.items():
        summary = result.summary(user)
        found[f"smooth, {name}"] = summary["smooth_goodput"]["smooth_goodput_tokens_per_s"]
        found[f"idle_s, {name}"] = summary["idle_latency"]["idle_latency_s"]["mean"]
    latency, engine, drafts = summary["latency"], summary["engine"], result.manifest.get("drafts")
    return found | {
        "tpot_s": latency["tpot_s"]["mean"],
        "ttft_s": latency["ttft_s"]["mean"],
        "max_tbt_s": latency["tbt_max_per_request_s"]["mean"],
        "tbt_p99_s": latency["tbt_s"]["p99"],
        "tokens_per_s": summary["throughput"]["output_tokens_per_s"],
        "running": engine["running_mean"],
        "verified": drafts["verified"] / drafts["drafts"] if drafts and drafts["drafts"] else 1.0,  # share
        "accepted_length": engine.get("accepted_length") or 1.0,
    }


def measured(study: Study, cases: Mapping[Key, list[Scenario]], label: str) -> dict[Key, Numbers]:
    """Return, of each case, what ``numbers`` has of its scenarios."""
    return gathered(study, cases, numbers, label)


def worth(found: Numbers, reader: str) -> Floats:
    """Return smooth goodput over the tokens served: what a token is worth to its reader, f64[seeds]; at most 1."""
    return found[f"smooth, {reader}"] / found["tokens_per_s"]


def crossing(chances: Sequence[float], gains: Sequence[float]) -> float:
    """Return the chance at which a gain that rises with it passes 1, linear between those tried; 1: at none."""
    above = next((i for i, gain in enumerate(gains) if gain >= 1), None)
    if above is None:
        return 1.0
    near = slice(max(above - 1, 0), above + 1)
    return float(np.interp(1.0, gains[near], chances[near]))
