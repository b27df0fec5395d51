"""What matrices of quantised weights reach on a GPU: the peak that they use, and their shares of 16-bit efficiencies.

Weights are multiplied in the type of their activations where the GPU has units for it; else a kernel unpacks them and
multiplies in 16 bits (Marlin, arXiv 2408.11743: FP8 on Ampere, NVFP4 before Blackwell, GPTQ and AWQ everywhere).
"""

from typing import NamedTuple

from hardware_profiles.gpu import Gpu, KernelShares
from hardware_profiles.model import Model
from hardware_profiles.quantisation.formats import WeightFormat

_AS_16_BITS = KernelShares(compute=1.0, bandwidth=1.0)
# Where a GPU's own were not measured. Compute: int8 weights alone on H100, SGLang 0.5.6 (aiconfigurator 0.12.0).
# Bandwidth: the 8.6 ms a token of Qwen2.5-7B-Instruct-GPTQ-Int4 on an L40S with one client (vLLM 0.8.5.post1).
_WEIGHT_ONLY = KernelShares(compute=0.84, bandwidth=0.77)
# The matrices whose input is no other's; those before them in a part share the input of the part.
_OWN_INPUT = ("o_proj", "down_proj", "out_proj", "w2")


class MatrixRate(NamedTuple):
    """FLOP/s of a GPU for a format of weights, and the shares that multiply the efficiencies of 16 bits."""

    peak_flop_per_s: float
    shares: KernelShares
    measured: bool  # whether these shares were measured on this GPU
    unpacked: bool = False  # to 16 bits, before they are multiplied


def matrix_rate(gpu: Gpu, weights: WeightFormat) -> MatrixRate:
    """Return what a GPU reaches with matrices of a format."""
    sheet, kernels = gpu.datasheet, gpu.quantised_kernels
    if weights.bits == 16:
        return MatrixRate(gpu.peak_flop_per_s, _AS_16_BITS, True)
    peaks = {"fp8": sheet.peak_fp8_tflops, "fp4": sheet.peak_fp4_tflops, "int8": sheet.peak_int8_tops}
    peak = peaks.get(weights.activations)
    if peak is None:
        own = None if kernels is None else kernels.weight_only
        return MatrixRate(gpu.peak_flop_per_s, own or _WEIGHT_ONLY, own is not None, True)
    if kernels is None:
        return MatrixRate(peak * 1e12, _AS_16_BITS, False)
    own = {"fp8": kernels.fp8, "fp8_block": kernels.fp8_block, "nvfp4": kernels.nvfp4}.get(weights.name)
    return MatrixRate(peak * 1e12, own or kernels.fp8, own is not None)


def quantising_bytes(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    """Return the bytes that one GPU moves for a token to quantise what its matrices are multiplied with.

    Each input is read in 16 bits and written in its own type, once for all matrices that it goes to.
    """
    written = {"fp8": 1.0, "int8": 1.0, "fp4": 0.5}
    total = 0.0
    for layer in model.layers:
        for part in layer.parts:
            before = 0
            for matrix in part.matrices:
                weights = model.format_of(f"{layer.name}.{matrix.module}")
                own = matrix.module.endswith(_OWN_INPUT)
                if (
                    not matrix_rate(gpu, weights).unpacked
                    and weights.bits < 16
                    and (own or matrix.inputs != before)
                ):
                    moved = matrix.inputs * (2 + written[weights.activations])
                    total += moved * (matrix.active if own else 1) / (tensor_parallel if own else 1)
                    before = matrix.inputs
    return total
