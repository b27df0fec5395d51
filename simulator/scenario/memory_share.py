"""What an engine takes of a GPU's memory, and its tokens in a step, where the user sets neither."""

from typing import Any

from hardware_profiles import EngineProfile, Gpu
from hardware_profiles.sglang_memory import WHOLE_PROMPTS_TOKENS, chunked_prefill_size, mem_fraction_static
from simulator.errors import InputError
from simulator.scenario.engine import EngineSpec

_USUAL = 0.9


def tokens_in_step(profile: EngineProfile, gpu: Gpu, ranks: int) -> int:
    """Return the default of ``engine.max_num_batched_tokens``; SGLang divides it among data-parallel ranks."""
    usual = profile.defaults
    if usual.kv_memory == "mem_fraction_static":
        return usual.max_num_batched_tokens or chunked_prefill_size(gpu) // ranks
    return usual.max_num_batched_tokens or gpu.default_max_num_batched_tokens


def memory_share(
    engine: EngineSpec, profile: EngineProfile, gpu: Gpu, ranks: int, chunk_tokens: int | None
) -> dict[str, Any]:
    """Return the share of a GPU's memory as ``kv_capacity`` takes it; ``ranks``: data-parallel ones.

    ``chunk_tokens`` is None where prompts are computed whole. Raises InputError where SGLang would keep more free for a
    chunk than there is.
    """
    share, kind = engine.gpu_memory_utilization, profile.defaults.kv_memory
    if share is None and kind == "mem_fraction_static":
        chunk_tokens = WHOLE_PROMPTS_TOKENS if chunk_tokens is None else chunk_tokens
        share = mem_fraction_static(gpu, engine.tensor_parallel_size, ranks, chunk_tokens * ranks)
        if share <= 0:
            raise InputError(
                f"engine.max_num_batched_tokens: {profile.name} keeps more memory free for {chunk_tokens} tokens than"
                f" {gpu.name} has; expected fewer, or engine.gpu_memory_utilization"
            )
    return {
        "gpu_memory_utilization": _USUAL if share is None else share,
        "share_of_free": kind == "share of free",
        "activations_outside": kind == "mem_fraction_static",
    }
