"""The traffic and the clusters that c1 to c9 have in common."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from simulator.scenario.scenario import Scenario

TrafficKind = Literal["chat", "long", "azure"]
# What is kept free of a GPU's memory: the same for all policies, and as when the pages were made.
MEMORY: dict[str, Any] = {"sampler": "flashinfer", "cuda_graphs_gib": 0.0}
SHORT_REQUESTS = 1000  # up to so many requests, ten stretches of the Azure trace do not overlap; else five


def base_scenario(
    *,
    model: str = "llama-3.1-8b",
    gpu: str = "h100-80gb-sxm",
    traffic: TrafficKind = "chat",
    rate_rps: float,
    requests: int,
    seed: int,
    overrides: Mapping[str, Any] | None = None,
) -> Scenario:
    """Return one replica of vLLM under one of three kinds of traffic; ``overrides`` has dotted keys.

    ``chat``: ShareGPT's lengths, Poisson arrivals. ``long``: arXiv papers to summarise (prompts of some 2,600
    tokens), Poisson arrivals. ``azure``: the Azure conversation trace (one hour) stretched to the rate; each seed is
    another stretch of it, ten that begin 300 s apart, or of more than 1,000 requests five that begin 600 s apart.
    """
    workload: dict[str, Any] = {"rate_rps": rate_rps}
    if traffic == "azure":
        stretches = 10 if requests <= SHORT_REQUESTS else 5
        begin_s = 3000.0 / stretches * (seed % stretches)
        workload |= {"trace": "azure2023_conv", "limit": requests, "start_s": begin_s}
    else:
        lengths = {"chat": "chat_sharegpt_vllm", "long": "arxiv_summarization_4k"}[traffic]
        workload |= {"arrivals": "poisson", "lengths": lengths, "requests": requests}
    tables: dict[str, Any] = {"seed": seed, "hardware": {"model": model, "gpu": gpu}, "workload": workload}
    for key, value in (overrides or {}).items():
        *sections, last = key.split(".")
        table = tables
        for section in sections:
            below = table.get(section, {})
            table[section] = {"name": below} if isinstance(below, str) else dict(below)
            table = table[section]
        table[last] = value
    policy = tables.get("policy", {})
    scheduling = without_prefix_cache(policy.get("scheduling", "vllm_v1"))
    engine = {**MEMORY, **tables.get("engine", {})}
    return Scenario(**{**tables, "engine": engine, "policy": {**policy, "scheduling": scheduling}})


def without_prefix_cache(scheduling: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduling policy that keeps no prefixes, where it could: the pages' traffic shares none.

    A preempted request then computes all of its prompt again, under every policy of a comparison alike.
    """
    table = {"name": scheduling} if isinstance(scheduling, str) else dict(scheduling)
    return {"enable_prefix_caching": False, **table} if table.get("name") == "vllm_v1" else table


class Setting(NamedTuple):
    """Traffic and what serves it, for policies to be compared in."""

    title: str
    traffic: TrafficKind
    rate_rps: float
    requests: int
    overrides: dict[str, Any]

    def scenario(self, seed: int, policy: Mapping[str, Any], share: float = 1.0) -> Scenario:
        """Return the scenario of a policy with a seed and a share of the requests."""
        return base_scenario(
            traffic=self.traffic,
            rate_rps=self.rate_rps,
            requests=int(self.requests * share),
            seed=seed,
            overrides={**self.overrides, **policy},
        )
