"""What matrices of quantised weights reach on a GPU: the peak that they use, and their shares of 16-bit efficiencies.

Weights are multiplied in the type of their activations where the GPU has units for it; else a kernel unpacks them and
multiplies in 16 bits (Marlin, arXiv 2408.11743: FP8 on Ampere, NVFP4 before Blackwell, GPTQ and AWQ everywhere).
"""

from typing import NamedTuple

from hardware_profiles.gpu import Gpu, KernelShares
from hardware_profiles.quantisation.formats import WeightFormat

_AS_16_BITS = KernelShares(compute=1.0, bandwidth=1.0)
# Where a GPU's own were not measured. Compute: int8 weights alone on H100, SGLang 0.5.6 (aiconfigurator 0.12.0).
# Bandwidth: Marlin reads at the speed of 16-bit kernels (arXiv 2408.11743, figure 9: 3.9x of them with 4 bits).
_WEIGHT_ONLY = KernelShares(compute=0.84, bandwidth=1.0)


class MatrixRate(NamedTuple):
    """FLOP/s of a GPU for a format of weights, and the shares that multiply the efficiencies of 16 bits."""

    peak_flop_per_s: float
    shares: KernelShares
    measured: bool  # whether these shares were measured on this GPU


def matrix_rate(gpu: Gpu, weights: WeightFormat) -> MatrixRate:
    """Return what a GPU reaches with matrices of a format."""
    sheet, kernels = gpu.datasheet, gpu.quantised_kernels
    if weights.bits == 16:
        return MatrixRate(gpu.peak_flop_per_s, _AS_16_BITS, True)
    peaks = {"fp8": sheet.peak_fp8_tflops, "fp4": sheet.peak_fp4_tflops, "int8": sheet.peak_int8_tops}
    peak = peaks.get(weights.activations)
    if peak is None:
        own = None if kernels is None else kernels.weight_only
        return MatrixRate(gpu.peak_flop_per_s, own or _WEIGHT_ONLY, own is not None)
    if kernels is None:
        return MatrixRate(peak * 1e12, _AS_16_BITS, False)
    own = {"fp8": kernels.fp8, "fp8_block": kernels.fp8_block, "nvfp4": kernels.nvfp4}.get(weights.name)
    return MatrixRate(peak * 1e12, own or kernels.fp8, own is not None)
