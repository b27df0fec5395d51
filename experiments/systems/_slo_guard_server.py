"""SLO-Guard's server: its model, its GPU with and without CUDA graphs, its knobs and its traffic."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.scenario.scenario import Scenario
from simulator.studies.tune.space import Knob, SearchSpace, knob_of, space_of

GRAPHS, EAGER = "graphs", "eager"
BUDGET, CHUNKS = "engine.max_num_batched_tokens", "policy.scheduling.enable_chunked_prefill"
OUTPUT_TOKENS = 100
# Published mean latencies of one request of about 100 tokens: 431 ms with CUDA graphs, about 1,990 ms without. The
# difference is taken to be the same in each of its 100 steps: an inference, as step times are not published.
EAGER_STEP_MS = (1990 - 431) / OUTPUT_TOKENS
_CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151936,
    "tie_word_embeddings": True, "max_position_embeddings": 32768, "torch_dtype": "bfloat16",
}  # fmt: skip
_GPU = """name = "a100-40gb-graphs-or-eager"
like = "a100-80gb-sxm"
[datasheet]
peak_bf16_tflops = 312.0
memory_bandwidth_tb_per_s = 1.555
compute_capability = 8.0
memory_total_gib = 39.39
source = "as the shipped a100-40gb"
licence = "facts"
date = 2026-11-21
"""
_OVERHEADS = """
[engine_overheads.{name}]
engine_version = "vLLM, {name}"
asynchronous = true
kernel_factor = 0.975
step_ms = {step_ms}
per_sequence_ms = 0.013
frontend_s = 0.0076
source = "those of vLLM 0.15.1; eager: what published latencies with and without graphs differ by"
licence = "Apache-2.0"
date = 2026-11-21
fitted_on = {{ gpu = "A100", model = "Qwen2-1.5B", gpus = [1, 1] }}
remark = "not validated"
"""


def write_files(folder: Path) -> None:
    """Write the profiles that ``own_scenario`` names."""
    steps_ms = {GRAPHS: 0.58, EAGER: 0.58 + EAGER_STEP_MS}
    overheads = "".join(_OVERHEADS.format(name=name, step_ms=ms) for name, ms in steps_ms.items())
    (folder / "qwen2_1_5b.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    (folder / "gpu.toml").write_text(_GPU + overheads, encoding="utf-8")


def own_scenario() -> Scenario:
    """Return Qwen2-1.5B on an A100-40GB under interactive traffic; its files are beside it."""
    return Scenario(
        name="slo-guard",
        hardware={"gpu": "gpu.toml", "model": "qwen2_1_5b.json", "overheads": GRAPHS},
        workload={
            "arrivals": "poisson",
            "rate_rps": 4.0,
            "requests": 100,
            "prompt_tokens": 320,
            "output_tokens": OUTPUT_TOKENS,
        },
        policy={"scheduling": "vllm_v1"},
    )


class OwnSpace(SearchSpace):
    """Settings as it proposes them: a budget that its server takes, and prompts in chunks with graphs only."""

    def values(self, place: Mapping[str, float]) -> dict[str, Any]:
        """Return the settings at a place, so changed that none is invalid."""
        found = super().values(place)
        least = max(found["engine.max_num_seqs"], found["engine.max_model_len"])
        found[BUDGET] = max(found[BUDGET], least)
        found[CHUNKS] = found[CHUNKS] and found["hardware.overheads"] == GRAPHS
        return found


def own_space() -> SearchSpace:
    """Return its seven knobs; quantisation is fp16 only in its runs."""
    knobs = [*_sizes(512), *_switches(), Knob("hardware.overheads", choices=(EAGER, GRAPHS))]
    return OwnSpace(space_of(knobs).knobs)


def tight_scenario() -> Scenario:
    """Return a model that fits with more than two thirds of the memory only, under chat traffic beyond its knee."""
    return Scenario(
        name="slo-guard-tight",
        hardware={"gpu": "a100-40gb", "model": "qwen-2.5-14b"},
        workload={
            "arrivals": "poisson",
            "rate_rps": 3.0,
            "requests": 100,
            "prompt_tokens": 320,
            "output_tokens": 160,
        },
        policy={"scheduling": "vllm_v1"},
    )


def tight_space() -> SearchSpace:
    """Return the same knobs, without graphs; budgets from 64 tokens on, so that some are invalid."""
    return space_of([*_sizes(64), *_switches()])


def _sizes(budget: int) -> list[Knob]:
    """Return the ranges, all but the share of memory on a logarithmic scale; ``budget`` is the least of a step."""
    logarithmic = {
        "engine.max_num_seqs": (4, 128),
        BUDGET: (budget, 8192),
        "engine.max_model_len": (512, 4096),
    }
    found = [
        knob_of(key, key, {"from": low, "to": high, "scale": "log"})
        for key, (low, high) in logarithmic.items()
    ]
    return [*found, Knob("engine.gpu_memory_utilization", 0.6, 0.95)]


def _switches() -> list[Knob]:
    return [Knob(key, choices=(True, False)) for key in (CHUNKS, "policy.scheduling.enable_prefix_caching")]
