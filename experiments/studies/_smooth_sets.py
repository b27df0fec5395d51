"""The traffic, the hardware and the scorings on which ``smooth`` is compared with other policies."""

import json
from pathlib import Path
from typing import Any, NamedTuple

# What a reader's waiting costs: the keys of [user]. "paper" has the constants of its experiments (arXiv 2410.14257v2).
SCORINGS: dict[str, dict[str, Any]] = {
    "arrival": {"v_s_per_token": 0.05},
    "paper": {"v_s_per_token": 0.2, "alpha": 2.5},
    "V = 0.03": {"v_s_per_token": 0.03},
    "first token": {"v_s_per_token": 0.05, "origin": "first_token"},
    "quadratic": {"v_s_per_token": 0.05, "f": "quadratic"},
    "hinge": {"v_s_per_token": 0.05, "f": "hinge", "f_scale_s": 2.0},
}
# Those whose loads are multiples of their own best rate; the others' are multiples of the first one's.
OWN_RATES = ("arrival", "paper")


class Traffic(NamedTuple):
    """Keys of [workload] but for the rate, how long arrivals last, and the seed."""

    workload: dict[str, Any]
    span_s: float
    seed: int


class PointSet(NamedTuple):
    """Traffic on hardware: by name, the GPU and the model."""

    traffic: dict[str, Traffic]
    hardware: dict[str, tuple[str, str]]


def _drawn(lengths: str, span_s: float, seed: int, **keys: Any) -> Traffic:
    return Traffic({"arrivals": "poisson", "lengths": lengths, **keys}, span_s, seed)


def _trace(name: str, span_s: float, start_s: float, **keys: Any) -> Traffic:
    return Traffic({"trace": name, "start_s": start_s, **keys}, span_s, 0)


A100_14B, H100_8B = ("a100-80gb-sxm", "qwen-2.5-14b"), ("h100-80gb-sxm", "llama-3.1-8b")

# The rules and parameters of ``smooth`` were chosen on the first six.
TUNED = PointSet(
    {
        "conversations": _trace("azure2023_conv", 120, 0),
        "code": _trace("azure2023_code", 200, 300),
        "m-large": _trace("servegen_mlarge", 200, 200),
        "Mooncake": _trace("mooncake_fast25_synthetic", 300, 100, max_prompt_tokens=32768),
        "translation": _drawn("translation_bwb_4k", 200, 5),
        "bursts": _drawn("chat_sharegpt_8k", 120, 5, arrivals="gamma", burstiness=0.25),
    },
    {"A100 14B": A100_14B, "H100 8B": H100_8B},
)
# Nothing was chosen on these.
FRESH = PointSet(
    {
        "summaries": _drawn("arxiv_summarization_4k", 150, 21),
        "translation": _drawn("translation_bwb_4k", 200, 22, arrivals="gamma", burstiness=0.5),
        "chat": _drawn("chat_sharegpt_vllm", 100, 23),
        "spikes": _drawn("chat_sharegpt_8k", 150, 24, spike_factor=4.0, spike_s=8.0, spike_every_s=40.0),
        "conversations": _trace("azure2023_conv", 120, 2400),
        "m-large": _trace("servegen_mlarge", 200, 900),
        "reasoning": _trace("servegen_r1", 400, 1100, max_prompt_tokens=16384),
    },
    {
        "A100 14B": A100_14B,
        "H100 14B": ("h100-80gb-sxm", "qwen-2.5-14b"),
        "L40S 8B": ("l40s", "llama-3.1-8b"),
    },
)


def load_set(name: str) -> PointSet:
    """Return the set of that name, or of a JSON file.

    ``{"traffic": {NAME: {"workload": {...}, "span_s": 100, "seed": 0}}, "hardware": {NAME: [GPU, MODEL]}}``
    """
    if not name.endswith(".json"):
        return {"tuned": TUNED, "fresh": FRESH}[name]
    tables = json.loads(Path(name).read_text("utf-8"))
    return PointSet(
        {key: Traffic(**value) for key, value in tables["traffic"].items()},
        {key: (gpu, model) for key, (gpu, model) in tables["hardware"].items()},
    )
