"""SGLang's defaults that depend on a GPU's memory: tokens in a chunk, and memory for weights and KV cache.

    mem_fraction_static = 1 - max(0.5 + 1.5·chunk/1024 + 2·b/1024 + gpus/8 [+ c·b·ranks/1024], 10 above 60) / memory

in GiB, for CUDA graphs of up to b decodes; with data-parallel attention c is 3, and 4.5 where b > 300. Activations
and all else lie outside that share. Source: SGLang 0.5.4, srt/server_args.py, ``_handle_gpu_memory_settings``.
"""

from math import inf

from hardware_profiles.gpu import GIB, Gpu

# Below so many GiB: tokens in a chunk, and decodes in a CUDA graph on fewer than four GPUs and on four or more.
_BY_MEMORY_GIB = (
    (20.0, 2048, 8, 8),
    (35.0, 2048, 24, 80),
    (60.0, 4096, 32, 160),
    (160.0, 8192, 256, 512),
    (inf, 16384, 512, 512),
)
_LARGE_GIB, _LEAST_GIB = 60.0, 10.0
_MANY_DECODES = 300
WHOLE_PROMPTS_TOKENS = 16384  # max_prefill_tokens, which counts where prompts are not divided


def chunked_prefill_size(gpu: Gpu) -> int:
    """Return the prompt tokens of a step."""
    return _tier(gpu)[1]


def mem_fraction_static(gpu: Gpu, tensor_parallel: int, ranks: int, chunk_tokens: int) -> float:
    """Return the share of a GPU's memory that weights and KV cache have; ``ranks``: data-parallel ones."""
    gpus = tensor_parallel * ranks
    decodes = _tier(gpu)[3 if gpus >= 4 else 2]
    reserved_mib = 512 + 1.5 * max(chunk_tokens, 2048) + 2 * decodes + 128 * gpus
    if ranks > 1:
        reserved_mib += (4.5 if decodes > _MANY_DECODES else 3) * decodes * ranks
    memory_gib, reserved_gib = gpu.memory_bytes / GIB, reserved_mib / 1024
    if memory_gib > _LARGE_GIB:
        reserved_gib = max(reserved_gib, _LEAST_GIB)
    return round(1 - reserved_gib / memory_gib, 3)


def _tier(gpu: Gpu) -> tuple[float, int, int, int]:
    return next(tier for tier in _BY_MEMORY_GIB if gpu.memory_bytes < tier[0] * GIB)
