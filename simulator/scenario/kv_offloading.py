"""From the tiers of KV beyond the GPU in a scenario to those of a deployment, and what they do not go together with."""

from typing import TYPE_CHECKING

from hardware_profiles.gpu import GIB
from simulator.errors import InputError
from simulator.replica.kv_tier import TierPlan, TiersPlan
from simulator.scenario.engine import KvOffloadingSpec

if TYPE_CHECKING:
    from simulator.scenario.resolve import ResolvedPool
    from simulator.scenario.scenario import Scenario

KEY = "engine.kv_offloading"


def tiers_of(scenario: "Scenario", pool: "ResolvedPool") -> TiersPlan | None:
    """Return the tiers of a scenario, None without any.

    Raises InputError for what they do not go together with, and for tiers that hold nothing or lack a rate.
    """
    spec = scenario.engine.kv_offloading
    if not spec.tiers:
        return None
    _check(scenario, pool, spec)
    limits, tp = pool.limits, pool.tensor_parallel_size
    bytes_per_token = pool.capacity.kv_bytes_per_token * tp
    plans = []
    for nth, each in enumerate(spec.tiers):
        rate = each.read_gb_s
        if rate is None and each.kind == "host":
            rate = pool.gpu.host_link.bandwidth_gb_per_s * tp
        if rate is None:
            raise InputError(f"{KEY}.tiers[{nth}].read_gb_s: missing; expected GB/s for kind {each.kind!r}")
        chunks = int(each.capacity_gib * GIB / (spec.chunk_size * bytes_per_token))
        if not chunks:
            raise InputError(
                f"{KEY}.tiers[{nth}].capacity_gib: {each.capacity_gib:g} holds no chunk of {spec.chunk_size} tokens,"
                f" {spec.chunk_size * bytes_per_token / GIB:.3g} GiB; expected more"
            )
        plans.append(
            TierPlan(
                each.kind, chunks, rate * 1e9, (each.write_gb_s or rate) * 1e9, each.latency_s,
                each.kind == "shared" and each.common_link,
            )
        )  # fmt: skip
    if spec.chunk_size % limits.block_size:
        raise InputError(
            f"{KEY}.chunk_size: {spec.chunk_size} tokens; expected a multiple of engine.block_size ="
            f" {limits.block_size}"
        )
    return TiersPlan(
        plans, spec.chunk_size, bytes_per_token, spec.write_policy, spec.replacement, spec.fetch, spec.load,
        spec.prefetch, spec.writes_in_step, pool.model.num_hidden_layers,
    )  # fmt: skip


def _check(scenario: "Scenario", pool: "ResolvedPool", spec: KvOffloadingSpec) -> None:
    kinds, cluster = [each.kind for each in spec.tiers], scenario.cluster
    if len(set(kinds)) < len(kinds) or "host" in kinds[1:]:
        raise InputError(
            f"{KEY}.tiers: {', '.join(kinds)}; expected each kind once, and host, if it is there, first"
        )
    against = {
        "cluster.prefill and cluster.decode": (
            cluster.disaggregated,
            "which hand KV over by links of their own, and the decode side computes nothing that could be found",
        ),
        "policy.migration": (
            scenario.policy.migration.name != "none",
            "which takes KV from where it is found",
        ),
        "cluster.faults": (
            bool(cluster.faults.events) or cluster.faults.mtbf_s is not None,
            "of which it is not known what a host keeps",
        ),
        "policy.scaling": (pool.scaling is not None, "as what a replica that goes keeps is not modelled"),
        "speculation": (scenario.speculation.on, "whose drafter has KV of its own"),
        "hardware.model": (
            pool.limits.fixed_kv is not None,
            f"{pool.model.name}, which keeps states or windows that are not stored by chunks",
        ),
    }
    for key, (given, why) in against.items():
        if given:
            raise InputError(f"{KEY}.tiers: given together with {key}, {why}; expected one of the two")
    from simulator.scenario.resolve import make_policy

    if make_policy("scheduling", pool.scheduling).prefix_cache() is None:
        raise InputError(
            f"{KEY}.tiers: given with policy.scheduling {pool.scheduling.name!r}, which keeps no prefixes as it is"
            " set; expected one that does, such as 'vllm_v1'"
        )
