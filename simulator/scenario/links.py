"""From the keys of a scenario and a link's profile to what carries KV caches, and the rule of hand-offs."""

from collections.abc import Sequence

from hardware_profiles import LinkProfile
from hardware_profiles.pipeline import PipelineCost
from simulator.cluster.deployment import HandOff, Link, Wires
from simulator.policy import Router
from simulator.scenario.cluster import HandOffSpec, LinkSpec
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.resolve import ResolvedPool, make_policy
from simulator.scenario.scenario import Scenario


def link_of(spec: LinkSpec, profile: LinkProfile, kv_bytes_per_token: int, layers: int) -> Link:
    """Return the link of a profile, with what the scenario has set in its place.

    A KV block of a GPU is in two pieces, keys and values, in each of the model's ``layers``, or in one over all.
    """
    known = {**profile.port.model_dump(), **profile.transfer.model_dump(), **profile.connection.model_dump()}
    known |= spec.model_dump(exclude_none=True)
    return Link(
        bytes_per_s=known["bandwidth_gb_s"] * 1e9 * known["achieved_share"],
        latency_s=known["latency_s"],
        kv_bytes_per_token=kv_bytes_per_token,
        setup_s=known["setup_s"],
        descriptor_s=known["descriptor_s"],
        descriptors_per_block=1 if spec.cross_layer_blocks else 2 * layers,
        handshake_s=known["handshake_s"],
        connected=spec.connected,
    )


def hand_off_of(spec: HandOffSpec, profile: LinkProfile, layers: int, router: Router) -> HandOff:
    """Return the rule of hand-offs; ``layers`` are the model's."""
    return HandOff(
        router,
        spec.when_full,
        early=spec.overlap != "after",
        layers=layers if spec.overlap == "layerwise" else 0,
        first_token=spec.first_token,
        routing_s=profile.hand_over.routing_s if spec.routing_s is None else spec.routing_s,
        hold_s=spec.hold_s,
        when_expired=spec.when_expired,
    )


def wires_of(scenario: Scenario, pool: ResolvedPool) -> Wires | None:
    """Return how long steps of a pool are on the wires that KV caches travel on; None: they take others.

    Those between nodes, where one engine's GPUs are on several and both links are the same; PCIe, where blocks are
    swapped to the host, which those of a prefix cache never are. Not of ranks in step and of policies that split the
    SMs, whose steps are priced together.
    """
    kind, layout, cost = scenario.cluster.link.kind, pool.layout, pool.cost
    scheduler = make_policy("scheduling", pool.scheduling)
    if pool.lockstep > 1 or scheduler.splits_sms():
        return None
    across = layout.stages == 1 and layout.tensor_parallel > layout.gpus_per_node
    if across and kind == scenario.hardware.node_link and isinstance(cost, PipelineCost):
        return cost.across_s
    swaps = scheduler.prefix_cache() is None and pool.limits.num_cpu_blocks > 0
    return cost.swaps_s if kind == "pcie" and swaps else None


def wire_remarks(scenario: Scenario, pools: Sequence[ResolvedPool]) -> list[str]:
    """Return what is not known of a run whose steps share wires with KV transfers."""
    moving = scenario.cluster.disaggregated or scenario.policy.migration.name != IDLE_POLICY["migration"]
    if not moving or all(wires_of(scenario, each) is None for each in pools):
        return []
    return [
        f"steps and KV transfers share {scenario.cluster.link.kind}: not validated, no measurement of both at once was"
        " found"
    ]
