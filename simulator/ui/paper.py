"""The servers and rates of the Paper tab: figures 6 and 11 of arXiv 2410.14257v2, small enough to be simulated at once.

As ``experiments/paper/protocol.toml`` has them: LLaMA 3.1 8B on one A100 under vLLM 0.5, once with whole prompts and
once in chunks of 512 tokens, ShareGPT's lengths and Poisson arrivals; load 1 is 28.5 requests/s. Here arrivals last
``ARRIVALS_S`` and there are five rates and one seed; the published figures have seventeen and eight.
"""

from simulator.scenario.scenario import Scenario

ARRIVALS_S = 40.0
LOADS = (0.26, 0.46, 0.67, 0.98, 1.4)
LOAD_1_RPS = 28.5
_COMMON = {
    "hardware": {"gpu": "a100-80gb-sxm", "model": "llama-3.1-8b"},
    "cluster": {"replicas": 1},
    "user": {"preset": "paper_v2"},
    "metrics": {"window": "arrivals"},
}
_SERVERS = {"whole prompts": (False, 32768), "chunks of 512": (True, 512)}


def paper_scenarios() -> list[Scenario]:
    """Return the runs of the figure, a rate under each server one after another; the name is the server's."""
    found = []
    for load in LOADS:
        rate_rps = round(load * LOAD_1_RPS, 1)
        for name, (chunked, step_tokens) in _SERVERS.items():
            policy = {"name": "vllm_v0", "enable_chunked_prefill": chunked}
            engine = {"profile": "vllm-0.5", "max_model_len": 32768, "max_num_batched_tokens": step_tokens}
            workload = {
                "arrivals": "poisson", "rate_rps": rate_rps, "requests": round(rate_rps * ARRIVALS_S),
                "lengths": "chat_sharegpt_vllm",
            }  # fmt: skip
            found.append(
                Scenario(
                    name=name, engine=engine, policy={"scheduling": policy},
                    workload=workload, **_COMMON,
                )
            )  # fmt: skip
    return found
