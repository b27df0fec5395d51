"""What attention to latents takes beside its matrices and its arithmetic, where a GPU's profile has it measured.

    layer = τ + tS·decodes + passes·(tokens + prior tokens)·H·(key + value)·2 bytes/BW + expanding the prior tokens

A prompt attends to heads that its latents are expanded to (DeepSeek-V2, arXiv 2405.04434, section 2.1.2), which are
written and read in memory. Engines keep latents alone, so a later chunk expands what came before it again.

Where an indexer picks the best K keys (DeepSeek-V3.2-Exp's report, section 2.1) a prompt meets the latents themselves:

    layer = tokens·(K·max(heads, 64)·FLOP of a pair/(ηs·PF) + ti)

as FlashMLA's sparse kernel computes all K slots of a query, by blocks of 64 heads; ti: picking them. SGLang attends to
prompts of up to K tokens as if they were not sparse; vLLM has one way for all.
"""

from collections.abc import Iterator
from math import inf

from hardware_profiles.gpu import EngineOverheads, Gpu
from hardware_profiles.layers import Cache, LayerPart, Matrix
from hardware_profiles.matrix_rates import matrix_rate
from hardware_profiles.model import Model

HEADS_TOGETHER = 64  # of a sparse kernel, which computes as many where a GPU has fewer


def measured_layers(gpu: Gpu, model: Model) -> int:
    """Return how many layers attend to latents, 0 where that was not measured on the GPU."""
    return 0 if gpu.latent_kernels is None else sum(n for _, n in _parts(model))


def overhead_s(gpu: Gpu, model: Model) -> float:
    """Return the seconds that all of them take whatever the step."""
    own = gpu.latent_kernels
    if own is None:
        return 0.0
    return 1e-6 * sum(
        n * (own.sparse_overhead_us if any(cache.copied for cache in part.caches) else own.overhead_us)
        for part, n in _parts(model)
    )


def sequence_s(gpu: Gpu, model: Model) -> float:
    """Return the seconds that all of them take for each sequence."""
    own = gpu.latent_kernels
    return 0.0 if own is None else 1e-6 * own.sequence_us * sum(n for _, n in _parts(model))


def expanded_s_per_key(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    """Return the seconds in which a GPU writes and reads what one key of a prompt is expanded to, in all layers."""
    own = gpu.latent_kernels
    if own is None:
        return 0.0
    size = sum(
        cache.query_heads_on(tensor_parallel) * cache.flop_per_pair / 2 * model.bytes_per_value * n
        for part, n in _parts(model)
        for cache in part.caches
        if cache.latent
    )
    return own.prompt_passes * size / gpu.bandwidth_bytes_per_s


def prior_s_per_key(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    """Return the seconds in which a GPU expands a prior key of a prompt once more, in all layers."""
    if gpu.latent_kernels is None:
        return 0.0
    total = expanded_s_per_key(gpu, model, tensor_parallel)
    for (matrix, weights), n in model.matrices.items():
        if _expands(matrix):
            rate = matrix_rate(gpu, weights)
            flop_per_s = gpu.kernel_fit.linear_compute_efficiency * rate.shares.compute * rate.peak_flop_per_s
            total += 2 * matrix.active_parameters * matrix.share(tensor_parallel) * n / flop_per_s
    return total


def expands_up_to(gpu: Gpu, model: Model, engine: EngineOverheads) -> float:
    """Return the longest context of a prompt that is expanded: beyond it, sparse attention meets latents."""
    reach = min((cache.reach for cache in model.caches if _sparse(cache)), default=inf)
    measured = gpu.latent_kernels is not None and gpu.latent_kernels.sparse_prompts is not None
    return 0.0 if measured and reach < inf and not engine.short_prompts_dense else reach


def sparse_s_per_token(gpu: Gpu, model: Model, tensor_parallel: int) -> dict[float, float]:
    """Return the seconds in which a GPU attends to all slots of a prompt's token, in all layers, by reach.

    Empty where that was not measured on the GPU.
    """
    own = gpu.latent_kernels
    if own is None or own.sparse_prompts is None:
        return {}
    measured = own.sparse_prompts
    short = model.kv_bytes_per_value < model.bytes_per_value
    share = measured.slot_efficiency_8_bits if short else measured.slot_efficiency
    found: dict[float, float] = {}
    for cache, n in model.caches.items():
        if _sparse(cache):
            heads = max(HEADS_TOGETHER, cache.query_heads_on(tensor_parallel))
            flop = heads * cache.decode_flop_per_pair * cache.reach * n
            found[cache.reach] = found.get(cache.reach, 0.0) + flop / (share * gpu.peak_flop_per_s)
    for cache, n in model.caches.items():
        if cache.copied and found:
            found[min(found)] += measured.indexer_us * 1e-6 * n
    return found


def _sparse(cache: Cache) -> bool:
    return cache.latent and cache.most_keys is not None


def _expands(matrix: Matrix) -> bool:
    return matrix.module.endswith(".kv_b_proj")


def _parts(model: Model) -> Iterator[tuple[LayerPart, int]]:
    return ((part, n) for part, n in model.parts.items() if part.kind == "latent attention")
