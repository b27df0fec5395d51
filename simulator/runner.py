"""``run(scenario)``: the only place that puts the parts together."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hardware_profiles import (
    Gpu,
    HardwareCost,
    KvCapacity,
    Model,
    kv_capacity,
    load_gpu,
    load_model,
    resolve_max_model_len,
    step_cost,
)
from hardware_profiles.gpu import GIB
from simulator.discover import blamed, load
from simulator.engine import Outcome, simulate
from simulator.errors import InputError, StallError
from simulator.limits import Limits
from simulator.policy import Scheduler
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.scenario_policy import PolicyChoice
from simulator.workload import Workload, build

_Part = TypeVar("_Part")

LEAST_WHOLE_PROMPT_BUDGET = 2048  # vLLM's floor where prompts are not split


@dataclass(frozen=True)
class Server:
    """The hardware, the limits and the price of a step that a scenario comes down to."""

    gpu: Gpu
    model: Model
    capacity: KvCapacity
    limits: Limits
    cost: HardwareCost


def run(
    scenario: Scenario,
    *,
    base_dir: Path | None = None,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Result:
    """Simulate a scenario and return its result.

    Relative paths in the scenario are looked up in ``base_dir`` (default: the working directory).
    ``on_progress`` gets simulated seconds, requests done and requests in all, some 30 times a second;
    ``should_stop`` is asked as often and ends the run early, with what is finished kept
    (``Result.partial``).

    Raises InputError for anything in the scenario that cannot be simulated, and StallError when the
    policy stops making progress; its ``result`` holds everything up to then.
    """
    workload = build(scenario.workload, scenario.seed, base_dir or Path())
    server = equip(scenario, base_dir)
    _check_lengths(scenario, workload, server)
    _check_horizon(scenario, workload)
    policy = scenario.policy
    with blamed(scheduling=policy.scheduling.name, routing=policy.routing.name):
        outcome = simulate(
            workload,
            scheduler=lambda: make_policy("scheduling", scenario.policy.scheduling),
            cost=server.cost,
            limits=server.limits,
            router=make_policy("routing", scenario.policy.routing),
            replicas=scenario.cluster.replicas,
            seed=scenario.seed,
            horizon_s=scenario.run.horizon_s,
            frontend_s=server.cost.overheads.frontend_s,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    result = Result(
        requests=outcome.tables.requests,
        tokens=outcome.tables.tokens,
        steps={name: column for name, column in outcome.tables.steps.items() if name != "ticks"},
        manifest=_manifest(scenario, workload, server, outcome),
    )
    if outcome.stalled is not None:
        raise StallError(outcome.stalled).with_result(result)
    return result


def equip(scenario: Scenario, base_dir: Path | None = None) -> Server:
    """Load the scenario's hardware and work out its limits; no simulation.

    Raises InputError for an unknown GPU or model, a model that does not fit, and limits that contradict
    one another.
    """
    gpu = _named("hardware.gpu", lambda: load_gpu(scenario.hardware.gpu, base_dir))
    model = _named("hardware.model", lambda: load_model(scenario.hardware.model, base_dir))
    if scenario.hardware.quantization is not None:
        model = replace(model, quantization=scenario.hardware.quantization)
    engine = scenario.engine
    policy: Scheduler = make_policy("scheduling", scenario.policy.scheduling)
    block_size = engine.block_size or policy.default_block_size
    seqs = engine.max_num_seqs or gpu.default_max_num_seqs
    tokens = engine.max_num_batched_tokens
    if tokens is None and policy.splits_prompts():
        tokens = gpu.default_max_num_batched_tokens
    elif tokens is None:
        longest = engine.max_model_len or model.max_position_embeddings
        tokens = max(LEAST_WHOLE_PROMPT_BUDGET, longest)
    capacity = _named(
        "hardware.model",
        lambda: kv_capacity(
            gpu,
            model,
            gpu_memory_utilization=engine.gpu_memory_utilization,
            block_size=block_size,
            max_num_batched_tokens=tokens,
            max_num_seqs=seqs,
            num_gpu_blocks=engine.num_gpu_blocks,
            tensor_parallel=engine.tensor_parallel_size,
        ),
    )
    kv_tokens = (capacity.num_blocks - policy.null_blocks) * block_size
    max_model_len = _named(
        "engine.max_model_len", lambda: resolve_max_model_len(model, kv_tokens, engine.max_model_len)
    )
    if engine.max_model_len == 1:
        raise InputError(
            "engine.max_model_len: expected at least 2, a prompt token and an output token, got 1"
        )
    if max_model_len < 2:
        raise InputError(
            f"engine.num_gpu_blocks: {capacity.num_blocks} blocks of {block_size} tokens hold no sequence;"
            " expected room for a prompt token and an output token"
        )
    if not policy.splits_prompts() and tokens < max_model_len:
        raise InputError(
            f"engine.max_num_batched_tokens: expected at least max_model_len = {max_model_len} with"
            f" {scenario.policy.scheduling.name}, which computes prompts whole, got {tokens}"
        )
    limits = Limits(
        seqs,
        tokens,
        max_model_len,
        capacity.num_blocks,
        block_size,
        num_cpu_blocks=int(engine.swap_space * GIB) // (block_size * capacity.kv_bytes_per_token),
        strict_engine=engine.strict_engine,
    )
    return Server(gpu, model, capacity, limits, _cost(scenario, policy, gpu, model, block_size))


def _cost(scenario: Scenario, policy: Scheduler, gpu: Gpu, model: Model, block_size: int) -> HardwareCost:
    """Return the price of a step, with the overheads of an engine that schedules as the policy does."""
    hardware, size = scenario.hardware, scenario.engine.tensor_parallel_size
    overheads = _named(
        "hardware.overheads",
        lambda: gpu.overheads(hardware.overheads, asynchronous=policy.pipeline_depth() > 1),
    )
    return _named(
        "hardware.cost_model",
        lambda: step_cost(gpu, model, hardware.cost_model, size, overheads, block_size),
    )


def _named(key: str, make: Callable[[], _Part]) -> _Part:
    """Make a part; an InputError then begins with the scenario's key."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def make_policy(kind: Any, choice: PolicyChoice) -> Any:
    """Return a new instance of a policy with its parameters."""
    return load(kind, choice.name)(**choice.params)


def _check_lengths(scenario: Scenario, workload: Workload, server: Server) -> None:
    limits = server.limits
    too_long = workload.prompt_tokens >= limits.max_model_len
    if too_long.any():
        spec = scenario.workload
        key = next(key for key in ("trace", "lengths", "prompt_tokens") if getattr(spec, key) is not None)
        first, count = int(np.argmax(too_long)), int(too_long.sum())
        raise InputError(
            f"workload.{key} {getattr(spec, key)}: request {first} has a prompt of"
            f" {workload.prompt_tokens[first]} tokens"
            + (f" (as have {count - 1} others too long)" if count > 1 else "")
            + f"; expected fewer than max_model_len = {limits.max_model_len} (the model's limit is"
            f" {server.model.max_position_embeddings}, the KV cache holds {server.capacity.tokens} tokens)"
            + ("; workload.max_prompt_tokens leaves such requests out" if key == "trace" else "")
        )


def _check_horizon(scenario: Scenario, workload: Workload) -> None:
    horizon_s, first_s = scenario.run.horizon_s, float(workload.arrival_s[0])
    if horizon_s is not None and horizon_s < first_s:
        raise InputError(
            f"run.horizon_s: {horizon_s:g} s is before anything arrives; expected more than {first_s:g} s"
        )


def _manifest(scenario: Scenario, workload: Workload, server: Server, outcome: Outcome) -> dict[str, Any]:
    steps = outcome.tables.steps
    lasted_s = steps["end_s"] - steps["start_s"]
    outside = server.cost.outside_measured_range(steps)
    busy_s = float(lasted_s.sum())
    limits = server.limits
    return {
        "scenario": scenario.model_dump(mode="json"),
        "seed": scenario.seed,
        "versions": _versions(),
        "workload": {
            "name": workload.name,
            "source": workload.source,
            "requests": len(workload),
            "max_tokens": workload.max_tokens,
        },
        "hardware": server.capacity.lines(),
        "engine": {
            "max_num_seqs": limits.max_num_seqs,
            "max_num_batched_tokens": limits.max_num_batched_tokens,
            "max_model_len": limits.max_model_len,
            "num_gpu_blocks": limits.num_gpu_blocks,
            "usable_blocks": limits.num_gpu_blocks
            - make_policy("scheduling", scenario.policy.scheduling).null_blocks,
            "block_size": limits.block_size,
            "num_cpu_blocks": limits.num_cpu_blocks,
            "tensor_parallel_size": scenario.engine.tensor_parallel_size,
            "cost_model": server.cost.kind,
            "overheads": server.cost.overheads.engine_version,
            "frontend_s": server.cost.overheads.frontend_s,
        },
        "gpus": scenario.cluster.replicas * scenario.engine.tensor_parallel_size,
        "usd_per_gpu_hour": server.gpu.price.usd_per_hour,
        "usd_per_gpu_hour_date": server.gpu.price.date.isoformat(),
        "validated": server.gpu.validated,
        **_prefix_cache(outcome),
        "end_of_run_s": outcome.end_s,
        "extrapolated_share": float(lasted_s[outside].sum()) / busy_s if busy_s else 0.0,
        "partial": outcome.interrupted,
        "stalled": outcome.stalled,
    }


def _prefix_cache(outcome: Outcome) -> dict[str, Any]:
    if outcome.prefix_hits is None:
        return {}
    hit_tokens, looked_up_tokens = outcome.prefix_hits
    return {"prefix_cache": {"hit_tokens": hit_tokens, "looked_up_tokens": looked_up_tokens}}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("servesim", "simpy", "numpy", "pyarrow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
