"""NVIDIA ModelOpt: in ``config.json``, or in ``hf_quant_config.json`` beside it; one type, or a type a layer."""

from hardware_profiles.quantisation.fields import Fields, kv_cache_of, refuse
from hardware_profiles.quantisation.formats import (
    FP8,
    FP8_BY_CHANNEL,
    MXFP8,
    NVFP4,
    NVFP4_WEIGHT_ONLY,
    SIXTEEN_BITS,
    WeightFormat,
    fp8_in_blocks,
    whole_numbers,
)
from hardware_profiles.quantisation.names import ModuleNames, names_of, plain
from hardware_profiles.quantisation.scheme import Quantization

_ALGORITHMS = {
    "FP8": FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": FP8_BY_CHANNEL,
    "FP8_PB_WO": fp8_in_blocks(128, 128),
    "NVFP4": NVFP4,
    "NVFP4_AWQ": NVFP4,
    "W4A16_NVFP4": NVFP4_WEIGHT_ONLY,
    "MXFP8": MXFP8,
    "W4A16_AWQ": whole_numbers(4, 128, zero_points=False),
    "W8A16": whole_numbers(8, 0, zero_points=False),
    "INT8_SQ": whole_numbers(8, 0, zero_points=False, activations="int8"),
    "W8A8_SQ_PER_CHANNEL": whole_numbers(8, 0, zero_points=False, activations="int8"),
}
MIXED = "MIXED_PRECISION"


def read_modelopt(fields: Fields, where: str) -> Quantization:
    """Return what ModelOpt says: ``quant_algo``, what is left out of it, or ``quantized_layers`` one by one."""
    algorithm = fields.get("quant_algo")
    kv_cache = kv_cache_of(fields, where)
    key = "exclude_modules" if fields.get("exclude_modules") is not None else "ignore"
    left = names_of(fields.get(key), f"{where}: '{key}'")
    rules = ((left, SIXTEEN_BITS),) if left != ModuleNames() else ()
    if algorithm is None and kv_cache is not None:  # only the KV cache is quantised
        return Quantization("modelopt", SIXTEEN_BITS, kv_cache=kv_cache)
    if algorithm != MIXED:
        return Quantization("modelopt", _format(fields, where), rules, kv_cache=kv_cache)
    layers = fields.get("quantized_layers")
    if not isinstance(layers, dict) or not all(isinstance(each, dict) for each in layers.values()):
        refuse(where, "quantized_layers", layers, f"a table of modules, with {MIXED}")
    found: dict[str, WeightFormat] = {}
    for name, each in layers.items():
        weights = _format(each, f"{where}: 'quantized_layers.{name}'")
        if found.setdefault(plain(name), weights) != weights:
            refuse(where, f"quantized_layers.{name}", each, "what the other experts of its layer have")
    usual = SIXTEEN_BITS
    if fields.get("quant_method") == "fp8":  # the rest is an FP8 checkpoint
        from hardware_profiles.quantisation.fp8 import in_blocks

        usual = in_blocks(fields.get("weight_block_size"), where)
    head = found.get("lm_head", SIXTEEN_BITS)
    return Quantization("modelopt", usual, rules, tuple(found.items()), head, kv_cache)


def _format(fields: Fields, where: str) -> WeightFormat:
    algorithm = fields.get("quant_algo")
    if algorithm not in _ALGORITHMS:
        refuse(where, "quant_algo", algorithm, ", ".join([*_ALGORITHMS, MIXED]))
    usual = _ALGORITHMS[algorithm]
    size = fields.get("group_size")
    if usual.bits != 4 or size in (None, usual.group[0]):
        return usual
    if usual.name != "int4" or type(size) is not int or size < 1:
        refuse(where, "group_size", size, f"{usual.group[0]} with {algorithm}")
    return whole_numbers(4, size, zero_points=False)
