"""The model as the engine serves it: the checkpoint, and what the scenario says of its weights and KV cache."""

from dataclasses import replace

from hardware_profiles import Model
from hardware_profiles.quantisation.scheme import KV_BYTES_PER_VALUE, ON_LOADING, UNIFORM, KvCacheType
from simulator.errors import InputError
from simulator.scenario.engine import EngineSpec, Hardware

_KV_TYPES: dict[str, KvCacheType] = {
    "bfloat16": "16 bits",
    "float16": "16 bits",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}


def served_model(model: Model, hardware: Hardware, engine: EngineSpec) -> Model:
    """Return a model with the weights that it is loaded with, and the type of its KV cache.

    Raises InputError where ``engine.quantization`` contradicts the checkpoint, as the engine does.
    """
    if hardware.quantization is not None:
        model = replace(model, quantization=UNIFORM[hardware.quantization])
    if engine.quantization is not None:
        model = _loaded(model, engine.quantization)
    if engine.kv_cache_dtype != "auto":
        model = replace(model, kv_bytes_per_value=KV_BYTES_PER_VALUE[_KV_TYPES[engine.kv_cache_dtype]])
    return model


def _loaded(model: Model, wanted: str) -> Model:
    if model.quantization is None:
        if wanted not in ON_LOADING:
            raise InputError(
                f"engine.quantization: {wanted!r} with {model.name}, whose weights have 16 bits; expected"
                f" {' or '.join(ON_LOADING)}, which an engine makes of them when it loads them"
            )
        return replace(model, quantization=ON_LOADING[wanted])
    method = model.quantization.method
    if wanted.removesuffix("_marlin").removesuffix("_fp4") != method:
        raise InputError(
            f"engine.quantization: {wanted!r} with {model.name}, whose checkpoint is quantised by {method};"
            f" expected {method}, or nothing"
        )
    return model
