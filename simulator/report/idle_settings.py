"""Settings of a run that had nothing to act on: accepted, as a study may vary what they need, and told."""

from collections.abc import Iterator, Mapping
from typing import Any


def without_effect(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting of a simulated run that changed nothing, as what it acts on is not there."""
    scenario = manifest.get("scenario")
    if not isinstance(scenario, Mapping) or "policy" not in scenario or "cluster" not in scenario:
        return []
    return [*_of_policies(manifest, scenario), *_of_the_cluster(scenario["policy"], scenario["cluster"])]


def _of_policies(manifest: Mapping[str, Any], scenario: Mapping[str, Any]) -> Iterator[str]:
    policy = scenario["policy"]
    routing, places = (
        policy["routing"]["name"],
        sum(pool.get("places", pool["replicas"]) for pool in manifest["pools"]),
    )
    if routing == "prefix_affinity" and "prefix_cache" not in manifest:
        yield "policy.routing = prefix_affinity has nothing to read: prefix caching is off"
    elif routing == "prefix_affinity" and not manifest["workload"]["shares_prompts"]:
        yield "policy.routing = prefix_affinity has nothing to read: no requests begin alike"
    if routing == "session_affinity" and not manifest["workload"].get("has_sessions", True):
        yield "policy.routing = session_affinity has nothing to go by: no request belongs to a session"
    if routing != "round_robin" and places == 1:
        yield f"policy.routing = {routing} has nothing to choose from: there is one replica"
    if policy["migration"]["name"] != "none" and places == 1:
        yield f"policy.migration = {policy['migration']['name']} has nothing to move to: there is one replica"
    if policy["acceptance"]["name"] != "none" and scenario["speculation"]["method"] == "none":
        yield f"policy.acceptance = {policy['acceptance']['name']} has nothing to accept: speculation.method is none"
    yield from _of_speculation(manifest, scenario["speculation"], policy["scheduling"]["name"])


def _of_speculation(
    manifest: Mapping[str, Any], speculation: Mapping[str, Any], scheduling: str
) -> Iterator[str]:
    from simulator.scenario.speculation import SpeculationSpec

    if speculation["method"] == "none":
        for key in _changed(speculation, SpeculationSpec):
            yield f"speculation.{key} has nothing to act on: speculation.method is none"
    counts = manifest.get("drafts") or {}
    if (
        speculation.get("enable_adaptive_verification")
        and counts.get("drafts")
        and not counts["trimmed_steps"]
    ):
        yield (
            "speculation.enable_adaptive_verification has nothing to choose: policy.scheduling ="
            f" {scheduling} chooses the drafts itself"
        )


def _of_the_cluster(policy: Mapping[str, Any], cluster: Mapping[str, Any]) -> Iterator[str]:
    from simulator.scenario.cluster import FaultSpec, HandOffSpec, LinkSpec, MigrationSpec, ScalingSpec

    disaggregated, moves = cluster.get("prefill") is not None, policy["migration"]["name"] != "none"
    pools = [cluster[role] for role in ("prefill", "decode") if cluster.get(role) is not None]
    pools += (cluster.get("pools") or {}).values()
    scales = policy["scaling"]["name"] != "none" or any(pool["scaling"] is not None for pool in pools)
    for section, like, acts, why in (
        ("link", LinkSpec, disaggregated or moves, "no KV cache is sent"),
        ("hand_off", HandOffSpec, disaggregated, "no replicas have roles"),
        ("migration", MigrationSpec, moves, "policy.migration is none"),
        ("scaling", ScalingSpec, scales, "policy.scaling is none"),
    ):
        for key in () if acts else _changed(cluster.get(section, {}), like):
            yield f"cluster.{section}.{key} has nothing to act on: {why}"
    events = cluster.get("faults", {}).get("events", [])
    if any(each["kind"] == "link" for each in events) and not (disaggregated or moves):
        yield "cluster.faults.events: a slow link has nothing to slow: no KV cache is sent"
    usual = FaultSpec.model_fields["factor"].default
    if any(each["kind"] == "crash" and each["factor"] != usual for each in events):
        yield "cluster.faults.events: the factor of a crash has nothing to act on: a crashed replica does not run"


def _changed(given: Mapping[str, Any], like: Any) -> list[str]:
    """Return the keys of a section whose values are not the defaults."""
    fields = like.model_fields
    return [
        key
        for key, value in given.items()
        if key in fields and not isinstance(value, Mapping) and value != fields[key].default
    ]
