"""How the GPUs of one engine are divided among stages and nodes, and whether that can be."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from hardware_profiles import Gpu, HardwareCost, KvCapacity, Model, load_link, step_cost
from hardware_profiles.gpu import EngineOverheads
from hardware_profiles.pipeline import Layout, PipelineCost, layers_of_stages
from simulator.errors import InputError, under_key
from simulator.replica.policy import Scheduler
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.scenario import Scenario

UNVALIDATED = "over several stages or nodes: not validated, no public run of such was found to compare with"
_KEY = "engine.pipeline_parallel_size"


def layout_of(scenario: Scenario, model: Model, policy: Scheduler, base_dir: Path | None) -> Layout:
    """Return the layout of a scenario's engines; InputError where the keys go with one another in no engine."""
    engine, hardware = scenario.engine, scenario.hardware
    stages, partition = engine.pipeline_parallel_size, engine.pp_layer_partition
    if stages > 1:
        _check(scenario, policy)
    key = _KEY if partition is None else "engine.pp_layer_partition"
    layers = under_key(key, lambda: layers_of_stages(model, stages, partition))
    layout = Layout(layers, engine.tensor_parallel_size, hardware.gpus_per_node)
    if layout.gpus <= layout.gpus_per_node:
        return layout
    link = under_key("hardware.node_link", lambda: load_link(hardware.node_link, base_dir))
    return Layout(layers, layout.tensor_parallel, layout.gpus_per_node, link)


def _check(scenario: Scenario, policy: Scheduler) -> None:
    """Raise InputError for what is not simulated with several stages."""
    stages, named = scenario.engine.pipeline_parallel_size, scenario.policy.scheduling.name
    why = None
    if not policy.fits_pipeline():
        why = f"the policy {named!r}, which does not plan batches while others are in the pipeline"
    elif scenario.speculation.on:
        why = "speculation, which is not simulated over several stages"
    elif scenario.cluster.disaggregated:
        why = "cluster.prefill and cluster.decode, whose hand-offs are not simulated from several stages"
    elif scenario.policy.migration.name != IDLE_POLICY["migration"]:
        why = "policy.migration, which is not simulated from several stages"
    elif scenario.engine.kv_offloading.tiers:
        why = "engine.kv_offloading.tiers, which are not simulated behind several stages"
    if why is not None:
        raise InputError(f"{_KEY}: {stages} with {why}; expected 1")


def cost_of(
    gpu: Gpu,
    model: Model,
    layout: Layout,
    kind: Literal["auto", "analytic", "tabulated"],
    overheads: EngineOverheads,
    block_size: int,
) -> HardwareCost:
    """Return the price of a step: of one stage on one node as ever, else of all stages and what is between them."""
    if layout.spread:
        return PipelineCost(gpu, model, layout, kind, overheads, block_size)
    return step_cost(gpu, model, kind, layout.tensor_parallel, overheads, block_size)


def memory_lines(layout: Layout, sums: Sequence[KvCapacity]) -> list[str]:
    """Return the memory sum of a GPU of each stage as lines of text; of several that are alike once."""
    if layout.stages == 1:
        return sums[0].lines()
    text, first = [], 1
    for (layers, lines), alike in groupby(
        zip(layout.layers, (tuple(each.lines()) for each in sums), strict=True)
    ):
        last = first + sum(1 for _ in alike) - 1
        named = f"stage {first}" if last == first else f"stages {first} to {last}"
        each = "" if last == first else " each"
        text += [f"{named} of {layout.stages}, {layers} layers{each}:", *lines]
        first = last + 1
    least = min(each.num_blocks for each in sums)
    return [*text, f"every stage has as many KV blocks as the one that fits fewest: {least:,}"]
