"""What engines hold of a quantised model beyond its weights: rows and columns that a kernel wants and nothing is in."""

from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model

# Multiples that experts in MXFP4 are padded to, hidden and inner width (vLLM 0.11, quantization/mxfp4.py), by the whole
# part of the compute capability: by FlashInfer on Blackwell, by Marlin on the others; Triton, on Hopper, needs none.
_BLACKWELL, _MARLIN = (256, 256), (256, 128)
_MXFP4_PADDING = {8: _MARLIN, 10: _BLACKWELL, 12: _MARLIN}


def padding_bytes(gpu: Gpu, model: Model, tensor_parallel: int) -> int:
    """Return the bytes of padding on one of ``tensor_parallel`` GPUs; 0 where the GPU's kernels are not known."""
    multiples = _MXFP4_PADDING.get(int(gpu.datasheet.compute_capability or 0))
    if multiples is None:
        return 0
    total = 0.0
    for (matrix, weights), n in model.matrices.items():
        if weights.name == "mxfp4" and matrix.count > 1:
            hidden = model.hidden_size
            inner = matrix.inputs * matrix.outputs // hidden // tensor_parallel
            padded = _up(hidden, multiples[0]) * _up(inner, multiples[1])
            share = weights.bytes_per_weight(matrix.inputs, matrix.outputs)
            total += n * matrix.count * (padded - hidden * inner) * share
    return int(total)


def _up(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple
