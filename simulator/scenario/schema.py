"""The JSON schema of a scenario file, for editors that complete and check TOML by one."""

from typing import Any

from hardware_profiles import list_engines, list_gpus, list_links, list_models
from simulator.metrics._presets import PRESETS
from simulator.scenario import plugins
from simulator.scenario.discover import KINDS, PolicyKind, discover
from simulator.scenario.scenario import Scenario
from simulator.workload import library

_OF_POOLS: tuple[tuple[PolicyKind, str], ...] = (("scheduling", "PoolSpec"), ("routing", "HandOffSpec"))
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """Return the schema: every key with its default and meaning, and the names that there are for each.

    A policy is a name, or a table with a name and its parameters. Where a name stands for a file of one's own, other
    words are allowed; the names are examples then.
    """
    schema = Scenario.model_json_schema()
    parts = schema["$defs"]
    for kind in KINDS:
        policy = parts["Policy"]["properties"][kind]
        policy.pop("$ref", None)
        policy |= _policy(_names(kind))
    for kind, part in _OF_POOLS:
        if kind in parts[part]["properties"]:
            parts[part]["properties"][kind] |= {"anyOf": [*_policy(_names(kind))["anyOf"], {"type": "null"}]}
    for part, key, names in (
        ("Hardware", "gpu", list_gpus()),
        ("Hardware", "model", list_models()),
        ("EngineSpec", "profile", ["native", *list_engines()]),
        ("LinkSpec", "kind", list_links()),
        ("PoolSpec", "gpu", list_gpus()),
        ("PoolSpec", "profile", ["native", *list_engines()]),
        ("WorkloadSpec", "trace", [*library.shipped_traces()]),
        ("WorkloadSpec", "lengths", [*library.shipped_samples(), *library.shipped_quantiles()]),
        ("WorkloadSpec", "load", [*library.shipped_loads()]),
        ("UserModel", "preset", [*PRESETS]),
    ):
        parts[part]["properties"][key]["examples"] = names
    return {"$schema": DIALECT, **schema, "title": "servesim scenario"}


def _names(kind: PolicyKind) -> list[str]:
    return [*discover(kind), *(name for name in plugins.names(kind) if name not in discover(kind))]


def _policy(names: list[str]) -> dict[str, Any]:
    """Return the schema of a choice: a name, or a table with one; a name may be the path of a file."""
    name = {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"\\.py$"}]}
    table = {"type": "object", "properties": {"name": name}}
    return {"anyOf": [name, table]}
