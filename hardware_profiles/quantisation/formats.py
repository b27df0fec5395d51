"""How a matrix's weights are stored, and in what they are multiplied."""

from math import ceil
from typing import Literal, NamedTuple

Activations = Literal["16 bits", "fp8", "fp4", "int8"]


class WeightFormat(NamedTuple):
    """Bits of a weight, what its scales add, and the type of what it is multiplied with.

    ``group``: the inputs and the outputs that share a scale; 0: all of them. ``activations`` "16 bits": the kernel
    unpacks the weights and multiplies in 16 bits, whatever the GPU.
    """

    name: str  # as measured kernels go by it (``gpus/*.toml``) and as reports say it
    bits: float
    activations: Activations = "16 bits"
    scale_bytes: float = 0.0  # of one group, its zero point included
    group: tuple[int, int] = (0, 0)

    def bytes_per_weight(self, inputs: int, outputs: int) -> float:
        """Return the bytes of one weight of an ``inputs`` x ``outputs`` matrix, its share of the scales included."""
        if not self.scale_bytes:
            return self.bits / 8
        down, across = self.group
        groups = ceil(inputs / (down or inputs)) * ceil(outputs / (across or outputs))
        return self.bits / 8 + self.scale_bytes * groups / (inputs * outputs)


SIXTEEN_BITS = WeightFormat("16 bits", 16)
FP8 = WeightFormat("fp8", 8, "fp8")  # a scale a matrix
FP8_BY_CHANNEL = WeightFormat("fp8", 8, "fp8", 4.0, (0, 1))
NVFP4 = WeightFormat("nvfp4", 4, "fp4", 1.0, (16, 1))  # an FP8 scale for 16 values
# The same weights, multiplied in 16 bits.
NVFP4_WEIGHT_ONLY = NVFP4._replace(activations="16 bits")
# OCP microscaling formats, v1.0, section 5: an 8-bit exponent for 32 values. Weights alone in 4 bits, as vLLM has them.
MXFP4 = WeightFormat("mxfp4", 4, "16 bits", 1.0, (32, 1))
MXFP4_BOTH = MXFP4._replace(activations="fp4")
MXFP8 = WeightFormat("mxfp8", 8, "fp8", 1.0, (32, 1))

# Normal floats with a 32-bit scale for 64 values (QLoRA, arXiv 2305.14314, section 3).
NF4 = WeightFormat("int4", 4, "16 bits", 4.0, (64, 1))


def fp8_in_blocks(inputs: int, outputs: int) -> WeightFormat:
    """Return FP8 with a 32-bit scale for each block of so many values (DeepSeek-V3, arXiv 2412.19437, 3.3.2)."""
    return WeightFormat("fp8_block", 8, "fp8", 4.0, (inputs, outputs))


def whole_numbers(
    bits: int, group_size: int, *, zero_points: bool, activations: Activations = "16 bits"
) -> WeightFormat:
    """Return integers of so many bits with a 16-bit scale, and maybe a zero point, for ``group_size`` inputs.

    ``group_size`` 0 or below: one group an output. GPTQ, AWQ and compressed-tensors store weights so.
    """
    scale_bytes = 2.0 + (bits / 8 if zero_points else 0.0)
    return WeightFormat(f"int{bits}", bits, activations, scale_bytes, (max(0, group_size), 1))
