"""compressed-tensors (vLLM's llm-compressor): groups of modules with the type of their weights and activations."""

from typing import Any

from hardware_profiles.quantisation.fields import Fields, kv_cache_of, refuse
from hardware_profiles.quantisation.formats import (
    FP8,
    FP8_BY_CHANNEL,
    MXFP4,
    MXFP4_BOTH,
    MXFP8,
    NVFP4,
    NVFP4_WEIGHT_ONLY,
    SIXTEEN_BITS,
    Activations,
    WeightFormat,
    fp8_in_blocks,
    whole_numbers,
)
from hardware_profiles.quantisation.names import names_of
from hardware_profiles.quantisation.scheme import Quantization

_CLASSES = ("Linear", "FusedMoE", "MoE")  # targets that mean every matrix of a layer


def read_compressed_tensors(fields: Fields, where: str) -> Quantization:
    """Return what ``config_groups``, ``targets``, ``ignore`` and ``kv_cache_scheme`` say."""
    groups = fields.get("config_groups") or {}
    kv_cache = kv_cache_of(fields, where)
    if not isinstance(groups, dict) or not (groups or kv_cache):
        refuse(where, "config_groups", groups, "a table of groups")
    left = names_of(fields.get("ignore"), f"{where}: 'ignore'")
    rules, usual, head = [(left, SIXTEEN_BITS)], SIXTEEN_BITS, SIXTEEN_BITS
    for key, group in groups.items():
        inside = f"{where}: 'config_groups.{key}'"
        if not isinstance(group, dict):
            refuse(where, f"config_groups.{key}", group, "a table of fields")
        weights = _format(group, str(group.get("format") or fields.get("format") or ""), inside)
        targets = group.get("targets") or ["Linear"]
        names = names_of(targets, f"{inside}: 'targets'")
        if any(name in _CLASSES for name in targets):
            usual = weights
        else:
            rules.append((names, weights))
        if "lm_head" in names and "lm_head" not in left:
            head = weights
    sparsity = fields.get("sparsity_config")
    if sparsity and sparsity.get("format", "dense") != "dense":
        refuse(where, "sparsity_config", sparsity, "dense weights")
    return Quantization("compressed-tensors", usual, tuple(rules), head=head, kv_cache=kv_cache)


def _format(group: Fields, packed: str, where: str) -> WeightFormat:
    weights, inputs = group.get("weights"), group.get("input_activations")
    if weights is None:
        return SIXTEEN_BITS
    if not isinstance(weights, dict) or not (inputs is None or isinstance(inputs, dict)):
        refuse(where, "weights", weights, "a table of fields")
    kind = _type(weights)
    acts = None if inputs is None else _type(inputs)
    size = weights.get("group_size") or 0
    if not isinstance(size, int) or isinstance(size, bool):
        refuse(where, "group_size", size, "a whole number")
    found: WeightFormat | None = None
    if kind == ("float", 8) and acts in (("float", 8), None):
        found = _fp8(weights, size, packed, where)
    elif kind == ("float", 4) and acts in (("float", 4), None):
        small = size == 32 or packed.startswith("mxfp4")
        both, alone = (MXFP4_BOTH, MXFP4) if small else (NVFP4, NVFP4_WEIGHT_ONLY)
        found = both if acts else alone
    elif kind[0] == "int" and acts in (None, ("float", 8), ("int", 8)):
        types: dict[Any, Activations] = {None: "16 bits", ("float", 8): "fp8", ("int", 8): "int8"}
        zeros = weights.get("symmetric") is False
        grouped = size if weights.get("strategy", "group") == "group" else 0
        if kind[1] in (2, 3, 4, 8):
            found = whole_numbers(int(kind[1]), grouped, zero_points=zeros, activations=types[acts])
    if found is None:
        refuse(where, "weights", weights, "8 or 4 bits of type float, or 2, 3, 4 or 8 of type int")
    return found


def _fp8(weights: Fields, size: int, packed: str, where: str) -> WeightFormat:
    strategy = weights.get("strategy") or "tensor"
    if size == 32 or packed.startswith("mxfp8"):
        return MXFP8
    if strategy == "block":
        block = weights.get("block_structure") or [128, 128]
        if not isinstance(block, list) or len(block) != 2 or not all(type(n) is int and n > 0 for n in block):
            refuse(where, "block_structure", block, "two whole numbers")
        return fp8_in_blocks(block[1], block[0])
    known = {"tensor": FP8, "channel": FP8_BY_CHANNEL}
    if strategy not in known:
        refuse(where, "strategy", strategy, "tensor, channel or block")
    return known[strategy]


def _type(fields: Fields) -> tuple[object, object]:
    return fields.get("type", "int"), fields.get("num_bits", 8)
