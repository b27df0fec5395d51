"""GPTQ, AWQ, AutoRound and bitsandbytes: weights alone in few bits, multiplied in 16 bits."""

import re

from hardware_profiles.quantisation.fields import Fields, choice, kv_cache_of, refuse, whole_number
from hardware_profiles.quantisation.formats import NF4, SIXTEEN_BITS, WeightFormat, whole_numbers
from hardware_profiles.quantisation.names import ModuleNames, names_of
from hardware_profiles.quantisation.scheme import Quantization

_Rule = tuple[ModuleNames, WeightFormat]

_BITS = (2, 3, 4, 8)


def read_gptq(fields: Fields, where: str) -> Quantization:
    """Return what GPTQ says (GPTQModel; arXiv 2210.17323): bits, group size, and ``dynamic`` rules by module.

    A ``dynamic`` name is a regular expression after ``+:`` (other bits or group size) or ``-:`` (left in 16 bits).
    """
    choice(fields, "checkpoint_format", where, ("gptq", "gptq_v2", "marlin"), "gptq")
    usual = _grouped(fields, where)
    rules: list[_Rule] = []
    dynamic = fields.get("dynamic") or {}
    if not isinstance(dynamic, dict):
        refuse(where, "dynamic", dynamic, "a table of rules")
    for pattern, other in dynamic.items():
        inside = f"{where}: 'dynamic'"
        names = names_of([f"re:{re.sub('^[+-]:', '', pattern)}"], inside)
        if pattern.startswith("-:"):
            rules.append((names, SIXTEEN_BITS))
        elif isinstance(other, dict):
            rules.append((names, _grouped({**fields, **other}, inside)))
        else:
            refuse(inside, pattern, other, "a table with bits or group_size")
    left = names_of(fields.get("modules_to_not_convert"), f"{where}: 'modules_to_not_convert'")
    rules += [(left, SIXTEEN_BITS)]
    inside_blocks = fields.get("modules_in_block_to_quantize")
    if inside_blocks:  # lists of lists: those modules of a layer and no others
        flat = [name for each in inside_blocks for name in ([each] if isinstance(each, str) else each)]
        rules.append((names_of(flat, f"{where}: 'modules_in_block_to_quantize'"), usual))
    head = usual if choice(fields, "lm_head", where, (False, True), False) else SIXTEEN_BITS
    rest = SIXTEEN_BITS if inside_blocks else usual
    return Quantization("gptq", rest, tuple(rules), head=head, kv_cache=kv_cache_of(fields, where))


def read_awq(fields: Fields, where: str) -> Quantization:
    """Return what AWQ says (AutoAWQ; arXiv 2306.00978): 4 bits in groups, parts of names left out."""
    choice(fields, "version", where, ("gemm", "gemv", "marlin", "GEMM", "GEMV", "MARLIN"), "gemm")
    bits = choice({"bits": fields.get("bits", fields.get("w_bit"))}, "bits", where, (4, 8), 4)
    size = whole_number({"group_size": fields.get("group_size", fields.get("q_group_size"))}, "group_size",
                        where, 128)  # fmt: skip
    zeros = choice(fields, "zero_point", where, (True, False), True)
    left = names_of(fields.get("modules_to_not_convert"), f"{where}: 'modules_to_not_convert'", ends=True)
    usual = whole_numbers(bits, size, zero_points=zeros)
    return Quantization("awq", usual, ((left, SIXTEEN_BITS),), kv_cache=kv_cache_of(fields, where))


def read_auto_round(fields: Fields, where: str) -> Quantization:
    """Return what AutoRound says (Intel; arXiv 2309.05516): integers in groups, ``extra_config`` by module."""
    choice(fields, "data_type", where, ("int",), "int")
    extra = fields.get("extra_config") or {}
    if not isinstance(extra, dict):
        refuse(where, "extra_config", extra, "a table of modules")
    rules: list[_Rule] = []
    head = SIXTEEN_BITS
    for name, other in extra.items():
        inside = f"{where}: 'extra_config.{name}'"
        if not isinstance(other, dict):
            refuse(where, f"extra_config.{name}", other, "a table with bits")
        wide = other.get("bits", 4) >= 16 if isinstance(other.get("bits", 4), int) else False
        own = SIXTEEN_BITS if wide else _grouped({**fields, **other}, inside)
        rules.append((names_of([name if "*" not in name else f"re:{name}"], inside), own))
        head = own if name == "lm_head" else head
    usual = _grouped(fields, where)
    return Quantization("auto-round", usual, tuple(rules), head=head, kv_cache=kv_cache_of(fields, where))


def read_bitsandbytes(fields: Fields, where: str) -> Quantization:
    """Return what bitsandbytes says: NF4 or FP4, or 8 bits."""
    left = names_of(fields.get("llm_int8_skip_modules"), f"{where}: 'llm_int8_skip_modules'")
    four = choice(fields, "load_in_4bit", where, (False, True), False)
    eight = choice(fields, "load_in_8bit", where, (False, True), False)
    if four == eight:
        refuse(where, "load_in_4bit", four, "one of load_in_4bit and load_in_8bit to be true")
    if eight:  # a 32-bit scale an output
        usual = WeightFormat("int8", 8, "16 bits", 4.0, (0, 1))
    else:
        choice(fields, "bnb_4bit_quant_type", where, ("nf4", "fp4"), "fp4")
        twice = choice(fields, "bnb_4bit_use_double_quant", where, (False, True), False)
        # Scales that are quantised once more: 8 bits each, and 32 bits for 256 of them.
        usual = NF4._replace(scale_bytes=1 + 4 / 256) if twice else NF4
    rules = ((left, SIXTEEN_BITS),)
    return Quantization("bitsandbytes", usual, rules, kv_cache=kv_cache_of(fields, where))


def _grouped(fields: Fields, where: str) -> WeightFormat:
    """Return integers in groups: every group of a GPTQ file has a scale and a zero point, symmetric or not."""
    bits = choice(fields, "bits", where, _BITS)
    return whole_numbers(bits, whole_number(fields, "group_size", where, 128), zero_points=True)
