"""``run(scenario)``: the only place that puts the parts together."""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles.quantisation.stored import estimated
from simulator.cluster.simulate import Outcome, simulate
from simulator.errors import StallError
from simulator.results.billing import bill
from simulator.results.result import Result
from simulator.results.trace_level import kept_tables
from simulator.results.work import work_table
from simulator.scenario.deploy import deploy
from simulator.scenario.discover import blamed
from simulator.scenario.energy import energy_of
from simulator.scenario.expert_spread import remarks as expert_remarks
from simulator.scenario.fits import (
    check_delivery,
    check_horizon,
    check_lengths,
    check_models,
    check_quality,
    check_readers,
)
from simulator.scenario.layout import UNVALIDATED, memory_lines
from simulator.scenario.links import wire_remarks
from simulator.scenario.origins import origins
from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario
from simulator.scenario.step_figures import StepFigures, needs_tokens_once
from simulator.workload import Workload, build
from simulator.workload.difficulty import with_difficulty


def run(
    scenario: Scenario,
    *,
    base_dir: Path | None = None,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    processes: int = 1,
    only_summary: bool = False,
) -> Result:
    """Simulate a scenario and return its result.

    Relative paths in the scenario are looked up in ``base_dir`` (default: the working directory).
    ``on_progress`` gets simulated seconds, requests done and requests in all, some 30 times a second;
    ``should_stop`` is asked as often and ends the run early, with what is finished kept
    (``Result.partial``). ``processes`` is how many a large cluster whose replicas need not know of one another
    may be split over; the result is the same. ``only_summary``: nothing will be asked of the result but its own
    summary and its files, so that at trace level "summary" a long run can be measured while it goes on, in a tenth
    of the memory.

    Raises InputError for anything in the scenario that cannot be simulated, and StallError when the
    policy stops making progress; its ``result`` holds everything up to then.
    """
    workload, pools = ready(scenario, base_dir)
    kinds = scenario.policy.model_dump()
    schedulers = {f"scheduling {each.name or each.role}": each.scheduling.name for each in pools}
    names = {kind: choice["name"] for kind, choice in kinds.items() if kind != "scheduling"}
    scalers = {
        f"scaling {each.name or each.role}": each.scaling.policy.name
        for each in pools
        if each.scaling is not None
    }
    figures = StepFigures(pools)
    fold = figures.fold(scenario) if only_summary and needs_tokens_once(scenario, pools) else None
    with blamed(**{"scheduling": pools[0].scheduling.name, **names}, **schedulers, **scalers):
        outcome = simulate(
            workload,
            deploy(scenario, pools, base_dir, workload),
            on_progress=on_progress,
            should_stop=should_stop,
            keep_steps="steps" in kept_tables(scenario.run.trace_level),
            processes=processes,
            fold=fold,
        )
    figures.look_at(outcome.tables)
    manifest = _manifest(scenario, workload, pools, outcome, figures)
    arrival_s, scaling = outcome.tables.requests["arrival_s"], outcome.tables.scaling
    if len(arrival_s) and len(scaling["replica"]):
        manifest["replicas"] = bill(manifest, scaling, float(arrival_s[0]), outcome.end_s)["replicas"]
    steps = figures.steps(outcome.tables)
    if scenario.hardware.usd_per_kwh is not None:
        manifest["energy"], drawn = energy_of(pools, outcome.tables, manifest, outcome.end_s)
        steps = steps | drawn if isinstance(steps, dict) else steps
    result = Result(
        requests=outcome.tables.requests,
        tokens=outcome.tables.unfolding,
        steps=steps,
        transfers=outcome.tables.transfers or None,
        scaling=scaling,
        work=work_table(outcome.tables.incarnations, outcome.tables.request_of)
        if "steps" in kept_tables(scenario.run.trace_level)
        else None,
        manifest=manifest,
    )
    if outcome.stalled is not None:
        raise StallError(outcome.stalled).with_result(result)
    return result


def ready(scenario: Scenario, base_dir: Path | None = None) -> tuple[Workload, list[ResolvedPool]]:
    """Return what a run begins with: its requests, and its pools of replicas; all is checked that can be before it.

    Raises InputError as ``run`` does.
    """
    workload = build(scenario.workload, scenario.seed, base_dir or Path())
    with blamed(scheduling=scenario.policy.scheduling.name):  # which is asked how it is to be served
        pools = resolve_pools(scenario, base_dir)
    check_lengths(scenario, workload, pools)
    check_models(scenario, workload, pools)
    if any(each.quality is not None for each in pools):
        workload = with_difficulty(workload, scenario.seed)
    check_quality(scenario, pools)
    check_horizon(scenario, workload)
    check_readers(scenario, workload)
    check_delivery(scenario, workload)
    return workload, pools


def _manifest(
    scenario: Scenario, workload: Workload, pools: list[ResolvedPool], outcome: Outcome, figures: StepFigures
) -> dict[str, Any]:
    server = pools[0]
    limits = server.limits
    gpus = sum(each.gpus for each in pools)
    usd_per_hour = sum(each.gpus * each.usd_per_gpu_hour for each in pools)
    return {
        "scenario": scenario.model_dump(mode="json"),
        **({"policies": found} if (found := origins(scenario)) else {}),
        "seed": scenario.seed,
        "trace_level": scenario.run.trace_level,
        "versions": _versions(),
        "workload": {
            "name": workload.name,
            "source": workload.source,
            "requests": len(workload),
            "max_tokens": workload.max_tokens,
            "shares_prompts": workload.segments is not None,
            "has_sessions": bool((workload.optional.get("session", np.array([-1])) >= 0).any()),
        },
        "hardware": memory_lines(server.layout, server.stages),
        "engine": {
            "max_num_seqs": limits.max_num_seqs,
            "max_num_batched_tokens": limits.max_num_batched_tokens,
            "max_model_len": limits.max_model_len,
            "num_gpu_blocks": limits.num_gpu_blocks,
            "usable_blocks": server.usable_blocks,
            "block_size": limits.block_size,
            "num_cpu_blocks": limits.num_cpu_blocks,
            "tensor_parallel_size": server.tensor_parallel_size,
            **_stages(server),
            "profile": server.profile.name,
            "description": server.profile.description,
            "overheads_measured": server.measured,
            "overheads_note": server.profile.overheads.note,
            "cost_model": server.cost.kind,
            "overheads": server.cost.overheads.engine_version,
            "frontend_s": server.cost.overheads.frontend_s,
            "model_remarks": [*_model_remarks(pools), *wire_remarks(scenario, pools)],
            "overheads_carried_over": [text for each in pools if (text := _carried_over(each)) is not None],
        },
        "pools": [
            {
                "role": each.role,
                **({"name": each.name, "model": each.model.name} if each.name else {}),
                "replicas": each.replicas,
                "places": each.places,
                "scaling": None
                if each.scaling is None
                else each.scaling._asdict() | {"policy": str(each.scaling.policy.name)},
                "gpu": each.gpu.name,
                "usd_per_gpu_hour": each.usd_per_gpu_hour,
                "tensor_parallel_size": each.tensor_parallel_size,
                **_stages(each),
                **({"ranks_in_step": each.lockstep} if each.lockstep > 1 else {}),
                "engine": each.engine_name,
                "scheduling": str(each.scheduling.name),
                **({"unmeasured_overheads": each.unmeasured} if each.unmeasured else {}),
                "usable_blocks": each.usable_blocks,
                "max_num_seqs": each.limits.max_num_seqs,
                "max_num_batched_tokens": each.limits.max_num_batched_tokens,
            }
            for each in pools
        ],
        "gpus": gpus,
        "usd_per_gpu_hour": usd_per_hour / gpus,
        "usd_per_gpu_hour_date": min(each.gpu.price.date for each in pools).isoformat(),
        "validated": server.gpu.validated,
        **_prefix_cache(outcome),
        **({} if outcome.tiers is None else {"kv_tiers": outcome.tiers}),
        **_drafts(outcome),
        "end_of_run_s": outcome.end_s,
        "extrapolated_share": figures.extrapolated_share,
        "partial": outcome.interrupted,
        "stalled": outcome.stalled,
    }


def _model_remarks(pools: list[ResolvedPool]) -> list[str]:
    """Return what a simulation leaves out of the pools' models, or prices by other types than theirs."""
    found = []
    for each in pools:
        estimate = estimated(each.gpu, each.model, each.cost.kind)
        found += [f"{each.model.name}: {what}" for what in (*each.model.left_out, estimate) if what]
        found += [f"{each.model.name} {UNVALIDATED}"] if each.layout.spread else []
        found += expert_remarks(each.model, each.cost)
    return list(dict.fromkeys(found))


def _stages(pool: ResolvedPool) -> dict[str, int]:
    stages = pool.layout.stages
    return {"pipeline_parallel_size": stages} if stages > 1 else {}


def _carried_over(pool: ResolvedPool) -> str | None:
    """What a pool's overheads were fitted on, if not on what it runs on."""
    overheads, gpus = pool.cost.overheads, pool.layout.gpus
    on = overheads.carried_to(pool.gpu.name, gpus)
    return (
        None if on is None else f"{overheads.engine_version}: fitted on {on}, not on {gpus} {pool.gpu.name}"
    )


def _prefix_cache(outcome: Outcome) -> dict[str, Any]:
    if outcome.prefix_hits is None:
        return {}
    return {"prefix_cache": outcome.prefix_hits._asdict()}


def _drafts(outcome: Outcome) -> dict[str, Any]:
    return {} if outcome.drafts is None else {"drafts": outcome.drafts}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("servesim", "simpy", "numpy", "pyarrow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
