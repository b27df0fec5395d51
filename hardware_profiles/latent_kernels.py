"""What attention to latents takes beside its matrices and its arithmetic, where a GPU's profile has it measured.

    layer = τ + tS·decodes + passes·(tokens + prior tokens)·H·(key + value)·2 bytes/BW + expanding the prior tokens

A prompt attends to heads that its latents are expanded to (DeepSeek-V2, arXiv 2405.04434, section 2.1.2), which are
written and read in memory. Engines keep latents alone, so a later chunk expands what came before it again.
"""

from collections.abc import Iterator
from math import inf

from hardware_profiles.gpu import Gpu
from hardware_profiles.layers import LayerPart, Matrix
from hardware_profiles.matrix_rates import matrix_rate
from hardware_profiles.model import Model


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


def expands_up_to(model: Model) -> float:
    """Return the longest context whose prior keys are expanded: beyond it, sparse attention meets latents."""
    return min((cache.most_keys or inf for cache in model.caches if cache.latent), default=inf)


def _expands(matrix: Matrix) -> bool:
    return matrix.module.endswith(".kv_b_proj")


def _parts(model: Model) -> Iterator[tuple[LayerPart, int]]:
    return ((part, n) for part, n in model.parts.items() if part.kind == "latent attention")
