"""Data-parallel ranks of a scenario's engine: which models have them in step, and what is not simulated with them."""

from typing import Any

from hardware_profiles import Gpu, HardwareCost, Model
from hardware_profiles.expert_parallel import RanksCost, rank_model
from hardware_profiles.gpu import EngineOverheads
from hardware_profiles.pipeline import Layout
from simulator.errors import InputError, under_key
from simulator.replica.policy import Scheduler
from simulator.scenario.engine import EngineSpec
from simulator.scenario.expert_spread import redundant_experts, spread_of
from simulator.scenario.layout import cost_of as layout_cost
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.scenario import Scenario


def ranks_in_step(engine: EngineSpec, model: Model) -> int:
    """Return how many ranks step together: those that share experts; of a dense model each is a replica, as in vLLM.

    Raises InputError for experts that cannot be spread as asked.
    """
    ranks, mixture = engine.data_parallel_size, any(each.is_expert for each, _ in model.matrices)
    if engine.enable_expert_parallel and not mixture:
        raise InputError(
            f"engine.enable_expert_parallel: {model.name} has no experts; expected false, or a mixture of experts"
        )
    if ranks == 1 or not mixture:
        return 1
    if not engine.enable_expert_parallel:
        raise InputError(
            f"engine.enable_expert_parallel: false with data_parallel_size = {ranks} and the experts of {model.name};"
            " expected true, as experts cut into slices over data-parallel ranks were never measured"
        )
    return ranks


def held_by_rank(scenario: Scenario, model: Model, ranks: int) -> Model:
    """Return what the memory of one rank holds of the model, copies of experts included."""
    redundant, size = redundant_experts(scenario), scenario.engine.tensor_parallel_size
    if ranks == 1 and not redundant:
        return model
    key = "policy.expert_placement" if redundant else "engine.data_parallel_size"
    return under_key(key, lambda: rank_model(model, ranks, size, redundant))


def check_ranks(scenario: Scenario, scheduling: Scheduler) -> None:
    """Raise InputError where something is asked for that ranks in step do not do here."""
    policy, cluster = scenario.policy, scenario.cluster
    for key, asked in (
        ("engine.pipeline_parallel_size", scenario.engine.pipeline_parallel_size > 1),
        ("engine.kv_offloading.tiers", bool(scenario.engine.kv_offloading.tiers)),
        ("policy.scheduling", scheduling.splits_sms()),
        ("speculation", scenario.speculation.on),
        ("cluster.faults", bool(cluster.faults.events) or cluster.faults.mtbf_s is not None),
        *((f"policy.{kind}", _chosen(policy, kind)) for kind in ("scaling", "roles", "migration")),
        *(
            (f"cluster.{role}.scaling", pool is not None and pool.scaling is not None)
            for role, pool in (("prefill", cluster.prefill), ("decode", cluster.decode))
        ),
    ):
        if asked:
            raise InputError(
                f"{key}: not simulated with data-parallel ranks, which step together and are all alike;"
                " expected it unset, or engine.data_parallel_size = 1"
            )


def _chosen(policy: Any, kind: Any) -> bool:
    return bool(getattr(policy, kind).name != IDLE_POLICY[kind])


def cost_of(
    gpu: Gpu,
    model: Model,
    layout: Layout,
    scenario: Scenario,
    ranks: int,
    overheads: EngineOverheads,
    block_size: int,
) -> HardwareCost:
    """Return the price of steps, or of the passes of ranks in step."""
    kind, size = scenario.hardware.cost_model, scenario.engine.tensor_parallel_size
    spread = spread_of(model, scenario)

    def made() -> HardwareCost:
        if ranks == 1 and spread is None:
            return layout_cost(gpu, model, layout, kind, overheads, block_size)
        return RanksCost(gpu, model, ranks, kind, size, overheads, block_size, spread)

    return under_key("hardware.cost_model", made)
