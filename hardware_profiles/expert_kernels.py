"""What kernels of experts take, where no table has measured them.

    layer = τ + passes·tokens·k·h·2 bytes/BW + [ (bytes read/(ηm·BW))^p + (FLOP/(ηc·PF))^p ]^(1/p)

τ: sorting tokens by expert and launching, whatever the size. Passes: tokens are copied k times, ordered by expert, and
their results weighted and summed; each GPU does that with all its tokens, however thin its slices are.

A GPU's own constants are its block ``[expert_kernels]``. Where it has none, and for formats that the block lacks, ηm
and ηc are those of dense matrices, ηc divided by a slowdown, as tiles are not full and rarely as large; slowdown, τ and
passes are then fitted to the expert tables of Qwen3-30B-A3B (1, 2, 4 GPUs) and Mixtral-8x7B (1 to 8) on H100 and H200,
507 points of 1 to 16,384 tokens, which they give to a median 5 % and 30 % at worst; those on L40S to one of 7 to 37 %.

An expert that all tokens share has launches of its own, as many as an MLP: half of a layer's overhead. In a server
prompts take longer than the sum of their kernels, attention apart, by a share that the block has too
(``served_prompts``): skewed picks, kernels that are launched one by one, what is not fused.
"""

from typing import NamedTuple

from hardware_profiles.gpu import Gpu
from hardware_profiles.matrix_rates import matrix_rate
from hardware_profiles.mixture_kernels import Reach
from hardware_profiles.model import Model
from hardware_profiles.quantisation.formats import WeightFormat

OVERHEAD_S = 18.5e-6  # of a layer
PASSES = 6.1  # over the picks' hidden states
SLOWDOWN = 1.34  # of arithmetic, against dense matrices


class ExpertRate(NamedTuple):
    """What kernels of experts reach on a GPU."""

    flop_per_s: float  # with many tokens
    bytes_per_s: float  # with few


def expert_rate(gpu: Gpu, weights: WeightFormat) -> ExpertRate:
    """Return what kernels of experts reach whose weights have a format."""
    rate, fit = matrix_rate(gpu, weights), gpu.kernel_fit
    own = _reach(gpu, weights)
    if own is None:
        return ExpertRate(
            fit.linear_compute_efficiency * rate.shares.compute * rate.peak_flop_per_s / SLOWDOWN,
            fit.linear_bandwidth_efficiency * rate.shares.bandwidth * gpu.bandwidth_bytes_per_s,
        )
    return ExpertRate(own.compute * rate.peak_flop_per_s, own.bandwidth * gpu.bandwidth_bytes_per_s)


def _reach(gpu: Gpu, weights: WeightFormat) -> Reach | None:
    kernels = gpu.expert_kernels
    if kernels is None:
        return None
    if weights.bits == 16:
        return kernels.bf16
    if matrix_rate(gpu, weights).unpacked:
        return kernels.mxfp4 if weights.name == "mxfp4" and kernels.mxfp4 else kernels.weight_only
    return kernels.fp8 if weights.activations == "fp8" else None


def overhead_s(gpu: Gpu, model: Model) -> float:
    """Return the seconds that all layers with experts take whatever the tokens; one that all share is an MLP more."""
    kernels = gpu.expert_kernels
    each_s = OVERHEAD_S if kernels is None else kernels.overhead_us * 1e-6
    total_s = 0.0
    for part, n in model.parts.items():
        if any(matrix.is_expert for matrix in part.matrices):
            total_s += each_s * n
        if part.kind == "experts" and any("shared" in matrix.module for matrix in part.matrices):
            total_s += gpu.kernel_fit.layer_overhead_us / 2 * 1e-6 * n
    return total_s


def sorting_s_per_token(gpu: Gpu, model: Model) -> float:
    """Return the seconds in which a GPU copies and sums one token's picks in all layers."""
    size = 0.0
    for part, n in model.parts.items():
        picks = max((matrix.active for matrix in part.matrices if matrix.is_expert), default=0)
        size += n * picks * model.hidden_size * model.bytes_per_value
    passes = PASSES if gpu.expert_kernels is None else gpu.expert_kernels.passes
    return passes * size / gpu.bandwidth_bytes_per_s


def more_for_prompts(gpu: Gpu, model: Model) -> float:
    """Return what prompts of a mixture take in a server beyond the sum of their kernels, as a share of it."""
    mixture = any(part.kind == "experts" for part in model.parts)
    return gpu.expert_kernels.served_prompts - 1 if mixture and gpu.expert_kernels else 0.0


def compute_s_per_token(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    """Return the seconds in which a GPU multiplies one token with the experts that it picks in all layers."""
    return sum(
        2
        * matrix.active_parameters
        * matrix.share(tensor_parallel)
        * n
        / expert_rate(gpu, weights).flop_per_s
        for (matrix, weights), n in model.matrices.items()
        if matrix.is_expert
    )
