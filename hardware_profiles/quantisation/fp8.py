"""``fp8`` and ``fbgemm_fp8``: 8-bit floats with a scale a matrix, a channel or a block, some modules left out."""

from hardware_profiles.quantisation.fields import Fields, choice, kv_cache_of, refuse
from hardware_profiles.quantisation.formats import (
    FP8,
    FP8_BY_CHANNEL,
    SIXTEEN_BITS,
    WeightFormat,
    fp8_in_blocks,
)
from hardware_profiles.quantisation.names import names_of
from hardware_profiles.quantisation.scheme import Quantization

_LISTS = ("modules_to_not_convert", "ignored_layers", "ignore")


def read_fp8(fields: Fields, where: str) -> Quantization:
    """Return what ``quant_method`` fp8 says (transformers, FineGrainedFP8Config; vLLM, fp8.py)."""
    choice(fields, "activation_scheme", where, ("dynamic", "static"), "dynamic")
    choice(fields, "fmt", where, ("e4m3", "float8_e4m3fn"), "e4m3")
    return _scheme("fp8", fields, in_blocks(fields.get("weight_block_size"), where), where)


def in_blocks(block: object, where: str) -> WeightFormat:
    """Return FP8 in blocks of ``weight_block_size`` (outputs, inputs); without one, with a scale a matrix."""
    if block is None:
        return FP8
    if (
        not isinstance(block, list)
        or len(block) != 2
        or not all(type(each) is int and each > 0 for each in block)
    ):
        refuse(where, "weight_block_size", block, "two whole numbers")
    return fp8_in_blocks(block[1], block[0])


def read_fbgemm_fp8(fields: Fields, where: str) -> Quantization:
    """Return what ``quant_method`` fbgemm_fp8 says: a scale an output, activations scaled token by token."""
    return _scheme("fbgemm_fp8", fields, FP8_BY_CHANNEL, where)


def _scheme(method: str, fields: Fields, usual: WeightFormat, where: str) -> Quantization:
    left = tuple((names_of(fields.get(key), f"{where}: '{key}'"), SIXTEEN_BITS) for key in _LISTS)
    rules = tuple(rule for rule in left if rule[0].whole or rule[0].patterns)
    return Quantization(method, usual, rules, kv_cache=kv_cache_of(fields, where))
