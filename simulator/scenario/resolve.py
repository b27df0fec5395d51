"""From the names in a scenario to the objects that serve: hardware, limits, policies, a deployment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hardware_profiles import (
    EngineProfile,
    Gpu,
    HardwareCost,
    KvCapacity,
    Model,
    engine_of,
    load_gpu,
    load_model,
    resolve_max_model_len,
)
from hardware_profiles.gpu import GIB
from hardware_profiles.pipeline import Layout, pipeline_capacity
from simulator.errors import InputError, under_key
from simulator.replica.cost import CostModel
from simulator.replica.limits import Limits
from simulator.replica.policy import Scheduler
from simulator.replica.replica import Role
from simulator.replica.rules import EngineRules
from simulator.replica.sm_split import DEFAULT_SPLIT, SmSplit
from simulator.replica.speculation import Speculation
from simulator.scenario.discover import load
from simulator.scenario.energy import capped
from simulator.scenario.engine import EngineSpec
from simulator.scenario.engines import engine_name, kept_free, named_after
from simulator.scenario.expert_spread import with_load
from simulator.scenario.jitter import jitter_of
from simulator.scenario.layout import layout_of
from simulator.scenario.memory_share import memory_share, tokens_in_step
from simulator.scenario.policy import PolicyChoice
from simulator.scenario.pools import MixedPoolSpec, PoolSpec
from simulator.scenario.ranks import check_ranks, cost_of, held_by_rank, ranks_in_step
from simulator.scenario.scaling import ScalingPlan, check_max_gpus, plan_of
from simulator.scenario.scenario import Scenario
from simulator.scenario.seats import seats_within
from simulator.scenario.served_model import served_model
from simulator.scenario.speculation import cost_with_drafts, drafter_of, speculation_of

_HARDWARE = ("gpu", "model", "power_cap_w")  # keys of a pool that stand for those of the section
LEAST_WHOLE_PROMPT_BUDGET = 2048  # vLLM's floor where prompts are not split


class ResolvedPool(NamedTuple):
    """The hardware, the limits and the price of a step that a scenario comes down to."""

    gpu: Gpu
    model: Model
    capacity: KvCapacity
    limits: Limits
    cost: HardwareCost
    scheduling: PolicyChoice
    profile: EngineProfile
    measured: bool  # whether the overheads were fitted to this engine
    engine_name: str  # with what this policy makes of it
    unmeasured: (
        str  # what is known of overheads that were never fitted, of the engine that the policy is named after
    )
    layout: Layout
    stages: tuple[KvCapacity, ...]  # the memory sum of each
    role: Role = "both"
    name: str = ""  # in cluster.pools
    own_usd_per_gpu_hour: float | None = None
    quality: float | None = None  # mean score of the model's answers
    usd_per_request: float = 0.0  # at list price; 0: none is known
    replicas: int = 1  # each data-parallel rank counts
    lockstep: int = 1  # so many of them in a row step together
    scaling: ScalingPlan | None = None
    speculation: Speculation | None = None
    cost_with_drafts: CostModel | None = None  # where there is speculation
    sm_split: SmSplit = DEFAULT_SPLIT  # for policies that split the SMs
    power_cap_w: float | None = None
    step_jitter: float = 0.0

    @property
    def tensor_parallel_size(self) -> int:
        """GPUs of a stage."""
        return self.layout.tensor_parallel

    @property
    def gpus(self) -> int:
        """GPUs of all replicas; of those at the start where they are scaled."""
        return self.replicas * self.layout.gpus

    @property
    def usd_per_gpu_hour(self) -> float:
        """The pool's own price, else the GPU's."""
        own = self.own_usd_per_gpu_hour
        return self.gpu.price.usd_per_hour if own is None else own

    @property
    def places(self) -> int:
        """How many replicas there can be at once."""
        return self.replicas if self.scaling is None else self.scaling.max_replicas

    @property
    def usable_blocks(self) -> int:
        """KV blocks of a replica that requests can use."""
        return self.limits.num_gpu_blocks - self.rules.null_blocks

    @property
    def most_tokens_a_step(self) -> int:
        """The most tokens that a step gives a request that decodes."""
        return 1 if self.speculation is None else self.speculation.most_tokens

    @property
    def rules(self) -> EngineRules:
        """What the engine does under any policy."""
        return self.profile.engine_rules._replace(stages=self.layout.stages)


def resolve_pools(scenario: Scenario, base_dir: Path | None = None) -> list[ResolvedPool]:
    """Return what each pool of replicas consists of; raises as ``resolve_pool`` does."""
    found = []
    for name, pool, alike in _pools_alone(scenario):
        try:
            server = resolve_pool(alike, base_dir)
        except InputError as error:
            raise type(error)(f"{scenario.cluster.key(name)}: {error}") from error
        replicas = pool.replicas * alike.engine.data_parallel_size
        if isinstance(pool, MixedPoolSpec):
            quality, usd = pool.published
            own = server._replace(name=name, replicas=replicas, quality=quality, usd_per_request=usd)
            found.append(own._replace(own_usd_per_gpu_hour=pool.usd_per_gpu_hour))
        else:
            role: Role = "prefill" if name == "prefill" else "decode"
            found.append(server._replace(role=role, replicas=replicas))
    replicas = scenario.cluster.replicas * scenario.engine.data_parallel_size
    found = found or [resolve_pool(scenario, base_dir)._replace(replicas=replicas)]
    bounds = scenario.cluster.bounds(scenario.policy)
    found = [
        server._replace(scaling=plan_of(each, scenario.cluster.scaling, server.model))
        for server, each in zip(found, bounds, strict=True)
    ]
    shared = [(each.name, each.replicas, each.layout.gpus, each.scaling) for each in found]
    check_max_gpus(scenario.cluster.scaling.max_gpus, shared)
    return found


def _pools_alone(scenario: Scenario) -> Iterator[tuple[str, PoolSpec, Scenario]]:
    """Yield the pools that are given one by one, each with a scenario in which all replicas are as it has them."""
    keys = PoolSpec.model_fields.keys() & EngineSpec.model_fields.keys()
    for name, pool in scenario.cluster.named_pools.items():
        hardware = {key: given for key in _HARDWARE if (given := getattr(pool, key, None)) is not None}
        engine = {key: getattr(pool, key) for key in keys if getattr(pool, key) is not None}
        scheduling = pool.scheduling or scenario.policy.scheduling
        yield (
            name,
            pool,
            scenario.model_copy(
                update={
                    "hardware": scenario.hardware.model_copy(update=hardware),
                    "engine": scenario.engine.model_copy(update=engine),
                    "policy": scenario.policy.model_copy(update={"scheduling": scheduling}),
                }
            ),
        )


def hardware_of(scenario: Scenario, base_dir: Path | None = None) -> list[tuple[Gpu, Model, int]]:
    """Return the GPU, the model and the tensor-parallel size of each pool; not what that can hold, nor its step times.

    Raises InputError for a GPU or model that is unknown.
    """
    alone = [each for _, _, each in _pools_alone(scenario)] or [scenario]
    return [(*_gpu_and_model(each, base_dir), each.engine.tensor_parallel_size) for each in alone]


def _gpu_and_model(scenario: Scenario, base_dir: Path | None) -> tuple[Gpu, Model]:
    gpu = under_key("hardware.gpu", lambda: load_gpu(scenario.hardware.gpu, base_dir))
    model = under_key("hardware.model", lambda: load_model(scenario.hardware.model, base_dir))
    return gpu, served_model(model, scenario.hardware, scenario.engine)


def resolve_pool(scenario: Scenario, base_dir: Path | None = None) -> ResolvedPool:
    """Load the scenario's hardware and work out its limits; no simulation.

    Raises InputError for an unknown GPU or model, a model that does not fit, and limits that contradict
    one another.
    """
    gpu, model = _gpu_and_model(scenario, base_dir)
    engine = scenario.engine
    policy: Scheduler = make_policy("scheduling", scenario.policy.scheduling)
    profile = under_key("engine.profile", lambda: engine_of(engine.profile, policy, base_dir))
    rules, usual, named = profile.engine_rules, profile.defaults, named_after(policy, profile)
    block_size = engine.block_size or usual.block_size
    seqs = engine.max_num_seqs or usual.max_num_seqs or gpu.default_max_num_seqs
    ranks = ranks_in_step(engine, model)
    tokens = engine.max_num_batched_tokens
    if tokens is None and policy.splits_prompts():
        tokens = tokens_in_step(profile, gpu, ranks)
    elif tokens is None:
        longest = engine.max_model_len or model.max_position_embeddings
        tokens = max(LEAST_WHOLE_PROMPT_BUDGET, longest)
    seqs = seats_within(seqs, tokens, engine, profile)
    if engine.data_parallel_size > 1:
        check_ranks(scenario, policy)
    model = with_load(model, scenario)
    held = held_by_rank(scenario, model, ranks)
    drafter, own = None, None
    if scenario.speculation.on:
        drafter, own = drafter_of(scenario.speculation, model, engine.tensor_parallel_size, base_dir)
    layout = layout_of(scenario, model, policy, base_dir)
    share = memory_share(engine, profile, gpu, ranks, tokens if policy.splits_prompts() else None)
    capacity, stages = under_key(
        "hardware.model",
        lambda: pipeline_capacity(
            gpu,
            held,
            layout,
            block_size=block_size,
            max_num_batched_tokens=tokens,
            max_num_seqs=seqs,
            num_gpu_blocks=engine.num_gpu_blocks,
            drafter_bytes=0 if drafter is None else drafter.weight_bytes,
            drafter_kv_bytes_per_token=0 if drafter is None else drafter.kv_bytes_per_token,
            **share,
            **kept_free(engine, named),
        ),
    )
    kv_tokens = capacity.longest_request_tokens(
        capacity.num_blocks - rules.null_blocks, engine.max_model_len or model.max_position_embeddings
    )
    max_model_len = under_key(
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
        num_cpu_blocks=int(engine.swap_space * GIB) // capacity.block_bytes,
        stop_tokens=engine.stop_tokens,
        strict_engine=engine.strict_engine,
        fixed_kv=capacity.fixed_kv,
    )
    ahead = layout.stages > 1 or rules.serving(policy).pipeline_depth > 1
    hardware = scenario.hardware
    overheads, measured = under_key(
        "hardware.overheads", lambda: profile.overheads_on(gpu, ahead=ahead, named=hardware.overheads)
    )
    cost = cost_of(gpu, model, layout, scenario, ranks, overheads, block_size)
    cost = capped(cost, scenario, layout.spread, block_size)
    return ResolvedPool(
        gpu,
        model,
        capacity,
        limits,
        cost,
        scenario.policy.scheduling,
        profile,
        measured,
        engine_name(profile, policy),
        "" if measured and named is profile else named.overheads.unmeasured,
        layout,
        tuple(stages),
        lockstep=ranks,
        power_cap_w=hardware.power_cap_w,
        step_jitter=jitter_of(scenario, policy, layout.stages, ranks),
        speculation=None if drafter is None else speculation_of(scenario, drafter, policy),
        cost_with_drafts=None if drafter is None else cost_with_drafts(cost, drafter, own),
        sm_split=_split_of(gpu, model, scenario.policy.scheduling) if policy.splits_sms() else DEFAULT_SPLIT,
    )


def _split_of(gpu: Gpu, model: Model, scheduling: PolicyChoice) -> SmSplit:
    """Return how a GPU's SMs can be split; InputError where its profile does not say."""
    if gpu.sm_split is None:
        raise InputError(
            f"policy.scheduling: {scheduling.name} splits the SMs of a GPU, and {gpu.name} has no [sm_split] in its"
            " profile; expected a GPU that has, such as h100-80gb-sxm"
        )
    said = gpu.sm_split.model_dump(include={*SmSplit._fields})
    return SmSplit(layers=model.num_hidden_layers, **said)


def make_policy(kind: Any, choice: PolicyChoice) -> Any:
    """Return a new instance of a policy with its parameters."""
    return load(kind, choice.name)(**choice.params)
