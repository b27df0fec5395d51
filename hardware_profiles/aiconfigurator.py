"""Operator tables out of NVIDIA's aiconfigurator (PyPI, Apache-2.0, Linux x86): an optional dependency.

It brings 180 MB of measured kernels for vLLM, SGLang and TensorRT-LLM on many GPUs. Matrices, lm_head, all-reduce,
decode attention and prefill attention without a past were measured, each alone; other kernels are bytes / (0.8 ·
bandwidth) + 3 µs; prefill attention after a past is derived, t(full)·(full² - prior²)/full². Experts were measured with
tokens that spread over as many of them as they can, which says how many were read.
"""

import logging
from collections.abc import Iterable
from typing import Any

from hardware_profiles.from_table import TableOrigin
from simulator.errors import InputError

# Names of systems there, of the GPUs that are shipped here.
SYSTEMS = {
    "a100-80gb-sxm": "a100_sxm", "h100-80gb-sxm": "h100_sxm", "h200-sxm": "h200_sxm", "b200-sxm": "b200_sxm",
    "l40s": "l40s", "l4": "l4", "rtx-pro-6000": "rtx_pro_6000_server",
}  # fmt: skip
QUANTIZATIONS = ("fp8", "fp8_block", "nvfp4")
ENGINES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
_TOKENS = (
    1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
    896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 4096, 6144, 8192, 12288, 16384,
)  # fmt: skip
_SEQUENCES = (
    1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
)  # fmt: skip
_CONTEXTS = (128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768)
_CHUNKS = (1, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
_PRIORS = (0, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
# What it calls the operators, after "context_" or "generation_".
_PARTS = {
    "linear": ("qkv_gemm", "proj_gemm", "gate_ffn1_gemm", "ffn2_gemm", "router_gemm"),
    "experts": ("moe",),
    "elementwise": ("embedding", "add_norm_1", "add_norm_2", "act_gate"),
    "all_reduce": ("embedding_ar", "ar_1", "ar_2", "moe_pre_dispatch", "moe_post_dispatch"),
    "lm_head": ("logits_gemm",),
    "attention": ("attention",),
}
_MOST_DECODED_TOGETHER = 512  # tokens priced as a decode step, beyond as a prompt

MISSING = (
    "aiconfigurator is not installed (Linux x86 only); expected after: pip install 'servesim[aiconfigurator]'"
)


def read_system(
    system: str,
    version: str | None,
    model: str,
    tensor_parallel: int,
    quantization: str | None = None,
    mixture: tuple[int, int] | None = None,
    engine: str = "vllm",
) -> tuple[dict[str, Any], TableOrigin]:
    """Return the rows of a table for a Hugging Face model on a system, and where they come from.

    ``version`` is the engine's (one of ENGINES), by default the latest there; ``mixture`` as in ``rows_of``. Raises
    InputError where the package is missing or has no such data.
    """
    session, version, released = _session(system, engine, version, model, tensor_parallel, quantization)
    origin = TableOrigin(
        f"NVIDIA aiconfigurator {released} (PyPI), {system}, {model}; kernels measured one by one, interpolated",
        "Apache-2.0 (tables: Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES)",
        f"{ENGINES[engine]} {version}",
        "Attention after a prior context is derived from that without one; so small chunks after long contexts"
        " are too cheap. Kernels beside matrices and attention are bytes / (0.8 x bandwidth) + 3 us each.",
    )
    try:
        return rows_of(session, tensor_parallel, mixture), origin
    except InputError:
        raise
    except Exception as error:  # its own kinds of refusal are many, and change
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"aiconfigurator: {model} on {system}, {ENGINES[engine]} {version}: {text}"
        ) from error


def rows_of(session: Any, tensor_parallel: int, mixture: tuple[int, int] | None = None) -> dict[str, Any]:
    """Ask an aiconfigurator session for every row of a table, in ms for all layers.

    ``mixture``: the experts of a layer and how many a token picks; None: a dense model. Raises InputError for a model
    of other operators.
    """

    def prompt(new: int, prior: int = 0) -> dict[str, float]:
        return dict(session.prompt(new, prior))

    def decode(batch: int, context: int) -> dict[str, float]:
        return dict(session.decode(batch, context))

    def part(name: str, found: dict[str, float], required: bool = True) -> float:
        own = [ms for key, ms in found.items() if key.split("_", 1)[-1] in _PARTS[name]]
        if required and not own:
            raise InputError(f"aiconfigurator: no operator of part '{name}' in {', '.join(found)}")
        other = [key for key, ms in found.items() if key.split("_", 1)[-1] not in known]
        if other:
            raise InputError(
                f"aiconfigurator: {', '.join(other)}: not read; expected a model of dense layers or routed experts"
            )
        return float(sum(own))

    known = {"p2p", *(each for operators in _PARTS.values() for each in operators)}  # p2p: of pipeline stages
    if mixture is None:
        known -= set(_PARTS["experts"])

    rows: dict[str, Any] = {name: [] for name in _PARTS}
    for tokens in _TOKENS:
        found = decode(tokens, 512) if tokens <= _MOST_DECODED_TOGETHER else prompt(tokens)
        rows["linear"].append((tokens, 0, 0, 0, part("linear", found)))
        rows["elementwise"].append((tokens, 0, 0, 0, part("elementwise", found)))
        if mixture:
            rows["experts"].append((tokens, min(mixture[0], tokens * mixture[1]), part("experts", found)))
        if tensor_parallel > 1:
            rows["all_reduce"].append((tokens, 0, 0, 0, part("all_reduce", found)))
    rows["lm_head"] = [(0, 0, batch, 0, part("lm_head", decode(batch, 512))) for batch in _SEQUENCES]
    full_ms = {n: part("attention", prompt(n)) for n in _sums(_CHUNKS, _PRIORS)}
    for new in _CHUNKS:
        for prior in _PRIORS:
            full = new + prior
            rows["attention"].append((new, prior, 0, 0, full_ms[full] * (full**2 - prior**2) / full**2))
    for batch in _SEQUENCES:
        for context in _CONTEXTS:
            rows["attention"].append((0, 0, batch, context, part("attention", decode(batch, context))))
    return rows


def _sums(first: Iterable[int], second: tuple[int, ...]) -> set[int]:
    return {a + b for a in first for b in second}


class _Session:
    """An inference session whose answers are milliseconds by operator."""

    def __init__(self, session: Any, config: Any) -> None:
        self._session, self._config = session, config

    def prompt(self, new: int, prior: int) -> dict[str, float]:
        """Return one prompt's step; the input length that aiconfigurator wants includes the prior tokens."""
        asked = self._config(batch_size=1, beam_width=1, isl=new + prior, osl=2, prefix=prior)
        answer = self._session.run_static(asked, "static_ctx")
        return dict(answer.get_context_latency_dict())

    def decode(self, batch: int, context: int) -> dict[str, float]:
        """Return one step of equal decodes."""
        asked = self._config(batch_size=batch, beam_width=1, isl=context - 1, osl=2)
        return dict(self._session.run_static(asked, "static_gen").get_generation_latency_dict())


def _session(
    system: str, engine: str, version: str | None, model: str, size: int, quantization: str | None
) -> tuple[_Session, str, str]:
    """Return a session, the engine's version and aiconfigurator's own."""
    from importlib.metadata import version as installed

    try:
        from aiconfigurator.sdk.backends.factory import get_backend
        from aiconfigurator.sdk.config import ModelConfig, RuntimeConfig
        from aiconfigurator.sdk.inference_session import InferenceSession
        from aiconfigurator.sdk.models import get_model
        from aiconfigurator.sdk.perf_database import get_database, get_supported_databases
        from aiconfigurator_core.sdk import common
    except ImportError:
        raise InputError(MISSING) from None
    logging.disable(logging.CRITICAL)
    there = {name: list(found.get(engine, [])) for name, found in get_supported_databases().items()}
    known = sorted(name for name, versions in there.items() if versions)
    if system not in known:
        expected = f"expected one of {', '.join(known)}"
        raise InputError(f"aiconfigurator has no {ENGINES[engine]} tables of {system}: {expected}")
    tried = [version] if version else sorted(there[system], key=_by_version, reverse=True)
    quantized: dict[str, Any] = {}
    if quantization is not None:
        quantized = {"gemm_quant_mode": getattr(common.GEMMQuantMode, quantization)}
    else:
        quantized = {
            "kvcache_quant_mode": common.KVCacheQuantMode.bfloat16,
            "fmha_quant_mode": common.FMHAQuantMode.bfloat16,
        }
    why = "no tables of that version"
    for one in tried:
        try:
            database = get_database(system, engine, one, allow_unlisted_version=True)
            if database is None:
                continue
            shared = ModelConfig(
                tp_size=size, moe_tp_size=size, moe_ep_size=1, workload_distribution="balanced", **quantized
            )
            made = get_model(model, shared, engine)
            session = _Session(InferenceSession(made, database, get_backend(engine)), RuntimeConfig)
            session.decode(1, 512)
        except Exception as error:  # its own kinds of refusal are many, and change
            why = " ".join(str(error).split())[:200]
            continue
        return session, one, installed("aiconfigurator")
    raise InputError(f"aiconfigurator: {model} on {system}, {ENGINES[engine]} {', '.join(tried)}: {why}")


def _by_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
