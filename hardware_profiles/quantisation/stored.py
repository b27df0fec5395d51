"""Telling in a line how a model is stored and multiplied."""

from hardware_profiles.gpu import Gpu
from hardware_profiles.matrix_rates import matrix_rate
from hardware_profiles.model import Model
from hardware_profiles.quantisation.formats import SIXTEEN_BITS, WeightFormat
from hardware_profiles.quantisation.scheme import KV_BYTES_PER_VALUE

_KV_NAMES = {1.0: "8 bits", KV_BYTES_PER_VALUE["nvfp4"]: "4 bits"}


def stored(gpu: Gpu, model: Model) -> str:
    """Return in a line which formats a model's matrices and its KV cache have, and what was not measured of them.

    Empty for a model in 16 bits. A matrix is one of one layer; a layer's experts count as one.
    """
    count: dict[WeightFormat, int] = {}
    for (_, weights), n in model.matrices.items():
        count[weights] = count.get(weights, 0) + n
    small = [weights for weights in count if weights != SIXTEEN_BITS]
    told = []
    for weights in small:
        how = ", unpacked and multiplied in 16 bits" if matrix_rate(gpu, weights).unpacked else ""
        told.append(f"{weights.name} in {count[weights]:,} of {sum(count.values()):,} matrices{how}")
    if small and SIXTEEN_BITS in count:
        told.append(f"16 bits in {count[SIXTEEN_BITS]:,}")
    parts = [f"weights: {'; '.join(told)}"] if told else []
    if model.head_bytes_per_value < SIXTEEN_BITS.bits / 8:
        parts.append("lm_head quantised too")
    if model.kv_bytes_per_value in _KV_NAMES:
        parts.append(f"KV cache: {_KV_NAMES[model.kv_bytes_per_value]} a value")
    return "; ".join(parts)


def estimated(gpu: Gpu, model: Model, cost_kind: str) -> str | None:
    """Return what of a quantised model's price was carried over from other types, in a sentence; None: nothing."""
    parts = []
    names = {weights.name for _, weights in model.matrices if not matrix_rate(gpu, weights).measured}
    if names and cost_kind == "analytic":
        parts.append(f"matrices in {' and '.join(sorted(names))} by the shares of other kernels or GPUs")
    if model.kv_bytes_per_value in _KV_NAMES:
        parts.append(
            f"attention to {_KV_NAMES[model.kv_bytes_per_value]} a value by that to 16, as fewer bytes"
        )
    return f"priced without a measurement on {gpu.name}: {'; '.join(parts)}" if parts else None
