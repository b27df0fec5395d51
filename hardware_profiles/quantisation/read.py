"""Reading the ``quantization_config`` of a checkpoint's ``config.json``, or the ``hf_quant_config.json`` beside it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hardware_profiles.quantisation.compressed_tensors import read_compressed_tensors
from hardware_profiles.quantisation.fields import Fields, kv_cache_of, refuse
from hardware_profiles.quantisation.formats import MXFP4, SIXTEEN_BITS
from hardware_profiles.quantisation.fp8 import read_fbgemm_fp8, read_fp8
from hardware_profiles.quantisation.integers import read_auto_round, read_awq, read_bitsandbytes, read_gptq
from hardware_profiles.quantisation.modelopt import MIXED, read_modelopt
from hardware_profiles.quantisation.names import names_of
from hardware_profiles.quantisation.scheme import Quantization
from simulator.errors import InputError


def _read_mxfp4(fields: Fields, where: str) -> Quantization:
    """Experts in MXFP4 and all else in 16 bits, as gpt-oss has it (vLLM, mxfp4.py)."""
    left = names_of(fields.get("modules_to_not_convert"), f"{where}: 'modules_to_not_convert'")
    experts = names_of(["re:.*experts.*"], where)
    rules = ((left, SIXTEEN_BITS), (experts, MXFP4))
    return Quantization("mxfp4", SIXTEEN_BITS, rules, kv_cache=kv_cache_of(fields, where))


_READERS: dict[str, Callable[[Fields, str], Quantization]] = {
    "fp8": read_fp8,
    "fbgemm_fp8": read_fbgemm_fp8,
    "compressed-tensors": read_compressed_tensors,
    "modelopt": read_modelopt,
    "modelopt_fp4": read_modelopt,
    "modelopt_mixed": read_modelopt,
    "gptq": read_gptq,
    "gptq_marlin": read_gptq,
    "awq": read_awq,
    "awq_marlin": read_awq,
    "auto-round": read_auto_round,
    "intel/auto-round": read_auto_round,
    "bitsandbytes": read_bitsandbytes,
    "mxfp4": _read_mxfp4,
}


def read_quantization(fields: object, where: str) -> Quantization:
    """Return what a ``quantization_config`` says; InputError for a method, or a field of one, that is not described."""
    inside = f"{where}: 'quantization_config'"
    if not isinstance(fields, Mapping):
        raise InputError(f"{inside} ({fields!r:.80}) must be a table of fields")
    method = fields.get("quant_method")
    if method is None and (fields.get("quant_algo") or _producer(fields) == "modelopt"):
        method = "modelopt"
    if method is None and fields.get("config_groups"):
        method = "compressed-tensors"
    if method is None and ("load_in_4bit" in fields or "load_in_8bit" in fields):
        method = "bitsandbytes"
    if fields.get("quant_algo") == MIXED:
        return read_modelopt(fields, inside)
    if method not in _READERS:
        raise InputError(
            f"{inside} shows weights quantised by {method!r}, which is not supported yet; expected one of"
            f" {', '.join(_READERS)}"
        )
    return _READERS[method](fields, inside)


def read_beside(found: Mapping[str, Any], where: str) -> Quantization:
    """Return what an ``hf_quant_config.json`` says, named ``where`` in refusals."""
    fields = found.get("quantization", found)
    if not isinstance(fields, Mapping):
        raise InputError(f"{where}: 'quantization' ({fields!r:.80}) must be a table of fields")
    return read_modelopt(fields, where)


def with_experts(found: Quantization, experts: object, where: str) -> Quantization:
    """Return it with the type that DeepSeek V4 gives of its experts apart (``expert_dtype``)."""
    if experts in (None, "fp8") or (experts == "fp4" and found.method == "modelopt"):
        return found
    if experts != "fp4":
        refuse(where, "expert_dtype", experts, "fp4 or fp8")
    names = names_of(["re:.*\\.experts\\..*"], where)
    return dataclasses.replace(found, rules=(*found.rules, (names, MXFP4)))


def _producer(fields: Fields) -> object:
    producer = fields.get("producer")
    return producer.get("name") if isinstance(producer, dict) else None
