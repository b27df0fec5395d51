"""The cluster in words: its machines, what connects them, what goes wrong, and how its size changes."""

from collections.abc import Mapping, Sequence
from typing import Any

_SENT = {  # when KV is, by cluster.hand_off.overlap
    "after": "after the prompt's last step",
    "chunks": "chunk by chunk",
    "layerwise": "layer by layer in each chunk",
}


def machines(manifest: Mapping[str, Any]) -> list[str]:
    """Of what the replicas of each pool are made."""
    pools, model = manifest["pools"], manifest["engine"].get("cost_model")
    parts = []
    for pool in pools:
        size = pool["tensor_parallel_size"] * pool.get("pipeline_parallel_size", 1)
        role = "" if pool["role"] == "both" else f" for {pool['role']}"
        role = f" with {pool['model']}" if "name" in pool else role
        begins = "" if pool.get("scaling") is None else " at the start"
        parts.append(f"{pool['replicas']} x {f'{size} ' if size > 1 else ''}{pool['gpu']}{role}{begins}")
    unit = " GPU" if pools[0]["tensor_parallel_size"] > 1 else ""
    times = f", {model} step times" if model else ""
    of_first = " of the first" if len(pools) > 1 else ""
    return [f"{' and '.join(parts)}{times}; each{unit}{of_first}:"]


def scaled_pools(pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Between what bounds the pools are scaled, and how long a new replica takes."""
    return [
        f"{_of(pool['role'])}{plan['min_replicas']} to {plan['max_replicas']} replicas, as {plan['policy']} says; a new"
        f" one takes {plan['provision_s']:g} s to be there and {plan['load_s']:.3g} s to load the model"
        for pool in pools
        if (plan := pool.get("scaling")) is not None
    ]


def cluster_lines(cluster: Mapping[str, Any]) -> list[str]:
    """What connects the replicas and what goes wrong with them; nothing where they only stand side by side."""
    lines = []
    if cluster.get("prefill") is not None:
        link, rule = cluster["link"], cluster["hand_off"]
        speed = f" at {link['bandwidth_gb_s']:g} GB/s" if link["bandwidth_gb_s"] is not None else ""
        lines.append(
            f"hand-offs over {link['kind']}{speed}, {_SENT[rule['overlap']]}, to {named(rule['routing'])};"
            f" decode full: {rule['when_full']}; first token by the {rule.get('first_token', 'prefill')} side"
        )
    faults = cluster.get("faults", {"mtbf_s": None, "events": []})
    if faults["mtbf_s"] is not None:
        lines.append(
            f"each replica crashes every {faults['mtbf_s']:g} s on average, for {faults['repair_s']:g} s"
        )
    lines += [
        f"fault: {each['kind']} of replica {each['replica']} from {each['at_s']:g} s for {each['for_s']:g} s"
        for each in faults["events"]
    ]
    if lines and (faults["events"] or faults["mtbf_s"] is not None):
        lines.append(
            f"requests hit by a crash are computed again up to {faults['retries']} times, then they fail"
        )
    return lines


def paid_replicas(pools: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many replicas of each pool that is scaled were paid for; ``pools`` by role, as in the summary's cost."""
    return [
        f"{_of(role)}{pool['mean']:.3g} replicas paid for on average, {pool['peak']} at most,"
        f" {pool['mean_in_service']:.3g} in service; {pool['ordered']:,} ordered, {pool['released']:,} released"
        for role, pool in pools.items()
    ]


def named(choice: Mapping[str, Any]) -> str:
    """Name a policy with its parameters."""
    params = ", ".join(
        f"{key}={value}" for key, value in choice.items() if key != "name" and value is not None
    )
    return f"{choice['name']} ({params})" if params else str(choice["name"])


def _of(role: str) -> str:
    return "" if role == "both" else f"{role}: "
