"""Reading the fields of a checkpoint's quantisation: what is not understood is refused by its name."""

from collections.abc import Mapping
from typing import Any, NoReturn

from hardware_profiles.quantisation.scheme import KvCacheType
from simulator.errors import InputError

Fields = Mapping[str, Any]

_KV_ALGORITHMS: dict[str, KvCacheType] = {"FP8": "fp8", "INT8": "int8", "NVFP4": "nvfp4"}


def refuse(where: str, key: str, given: object, expected: str) -> NoReturn:
    """Raise InputError: a key of the file ``where`` has a value that is not understood."""
    raise InputError(f"{where}: '{key}' is {given!r:.80}, which is not supported yet; expected {expected}")


def choice(fields: Fields, key: str, where: str, known: tuple[Any, ...], default: Any = None) -> Any:
    """Return the value of a key, which must be one of those known; absent or null: the default."""
    given = fields.get(key)
    if given is None:
        given = default
    if isinstance(given, bool) != isinstance(known[0], bool) or given not in known:
        refuse(where, key, given, " or ".join(map(repr, known)))
    return given


def whole_number(fields: Fields, key: str, where: str, default: int | None = None) -> int:
    """Return the whole number under a key, -1 or above."""
    given = fields.get(key, default)
    given = default if given is None else given
    if not isinstance(given, int) or isinstance(given, bool) or given < -1:
        refuse(where, key, given, "a whole number")
    return given


def kv_cache_of(fields: Fields, where: str) -> KvCacheType | None:
    """Return the type of the KV cache that a checkpoint asks for, by either of the names that there are for it."""
    algorithm = fields.get("kv_cache_quant_algo")
    scheme = fields.get("kv_cache_scheme")
    if algorithm is not None or isinstance(scheme, str):
        key, given = ("kv_cache_scheme", scheme) if algorithm is None else ("kv_cache_quant_algo", algorithm)
        if given not in _KV_ALGORITHMS:
            refuse(where, key, given, "FP8, INT8 or NVFP4")
        return _KV_ALGORITHMS[given]
    if not scheme:
        return None
    if not isinstance(scheme, dict):
        refuse(where, "kv_cache_scheme", scheme, "a table of fields")
    kind = scheme.get("type", "float"), scheme.get("num_bits")
    types: dict[object, KvCacheType] = {("float", 8): "fp8", ("int", 8): "int8", ("float", 4): "nvfp4"}
    if kind not in types:
        refuse(where, "kv_cache_scheme", scheme, "8 bits, or 4 of type float")
    return types[kind]
