"""Which engine serves each policy of a scenario, by name, without loading hardware."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware_profiles import EngineProfile, engine_of, load_engine
from simulator.replica.policy import Scheduler
from simulator.scenario.discover import load
from simulator.scenario.engine import EngineSpec
from simulator.scenario.scenario import Scenario

VLLM = "vllm-"
MOST_NAMED = 8  # rows of a comparison


def engine_name(profile: EngineProfile, policy: Scheduler) -> str:
    """Name an engine as a table does, and say if it serves a policy step by step though it could plan ahead."""
    rules = profile.engine_rules
    return rules.name if rules.serving(policy) == rules else f"{rules.name}, step by step"


def named_after(policy: Scheduler, profile: EngineProfile) -> EngineProfile:
    """Return the vLLM that a policy is named after, where vLLM serves it: memory and what is remarked are its own.

    Else the engine that serves.
    """
    native = policy.native_engine()
    both = native is not None and native.startswith(VLLM) and profile.name.startswith(VLLM)
    return load_engine(native) if both and native is not None and native != profile.name else profile


def kept_free(engine: EngineSpec, named: EngineProfile) -> dict[str, Any]:
    """Return what is kept free beside weights and KV cache, as ``kv_capacity`` takes it: what is given, or usual."""
    usual = named.defaults
    graphs_gib = usual.cuda_graphs_gib if engine.cuda_graphs_gib is None else engine.cuda_graphs_gib
    return {"sampler": engine.sampler or usual.sampler, "cuda_graphs_gib": graphs_gib}


def engine_names(scenario: Scenario, base_dir: Path | None = None) -> str:
    """Name the engine of a scenario's replicas; of both roles, where they differ."""
    profile, scheduling = scenario.engine.profile, scenario.policy.scheduling
    pools = list(scenario.cluster.named_pools.values())
    chosen = [(pool.profile or profile, pool.scheduling or scheduling) for pool in pools]
    found = [
        _name(name, policy.name, tuple(policy.params.items()), base_dir)
        for name, policy in chosen or [(profile, scheduling)]
    ]
    return " and ".join(dict.fromkeys(found))


def one_line(engines: Mapping[str, str]) -> str:
    """Say on which engine each row of a comparison ran, given as the rows' names with their engines."""
    if len(set(engines.values())) == 1:
        return f"engine: {next(iter(engines.values()))}"
    told = []
    for engine in dict.fromkeys(engines.values()):
        rows = [row for row, its in engines.items() if its == engine]
        more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
        told.append(f"{engine}: {', '.join(rows[:MOST_NAMED])}{more}")
    return f"not one engine, so differences are the engines', too; {'; '.join(told)}"


@lru_cache(maxsize=1024)
def _name(profile: str, policy: str, params: tuple[tuple[str, object], ...], base_dir: Path | None) -> str:
    made = load("scheduling", policy)(**dict(params))
    return engine_name(engine_of(profile, made, base_dir), made)
