"""Experts of a scenario's model: how tokens spread over them, and which GPU holds which."""

from dataclasses import replace
from typing import Any

import numpy as np

from hardware_profiles import HardwareCost, Model
from hardware_profiles.expert_load import ExpertSpread, chances_of
from hardware_profiles.expert_parallel import RanksCost
from hardware_profiles.expert_times import mixture_of
from simulator.arrays import Floats, Ints
from simulator.blame import broken, wrong_answer
from simulator.errors import InputError
from simulator.replica.experts import ExpertLoad, ExpertPlacement
from simulator.rng import stream
from simulator.scenario.discover import PolicyKind, load
from simulator.scenario.policy import IDLE_POLICY
from simulator.scenario.scenario import Scenario

_UNVALIDATED = "experts picked unevenly or placed by load: not validated, no public run with counts was found"


def of_experts(scenario: Scenario) -> list[PolicyKind]:
    """Return the kinds of policies by which experts are picked unevenly, or placed otherwise than in their order."""
    kinds: tuple[PolicyKind, ...] = ("expert_placement", "expert_load")
    return [kind for kind in kinds if getattr(scenario.policy, kind).name != IDLE_POLICY[kind]]


def with_load(model: Model, scenario: Scenario) -> Model:
    """Return a model whose experts are picked as ``policy.expert_load`` says.

    Raises InputError where there is nothing to act on, and for shares that are none.
    """
    kinds, engine = of_experts(scenario), scenario.engine
    if not kinds:
        return model
    key, mixture = f"policy.{kinds[0]}", mixture_of(model)
    expected = f"expected {IDLE_POLICY[kinds[0]]!r}"
    if mixture is None:
        raise InputError(f"{key}: {model.name} has no experts, or of several kinds; {expected}")
    whole = engine.enable_expert_parallel and _gpus(scenario) > 1
    if "expert_placement" in kinds and not whole:
        raise InputError(
            f"{key}: GPUs hold whole experts only where engine.enable_expert_parallel is true and there are several;"
            f" {expected}"
        )
    if whole and engine.pipeline_parallel_size > 1:
        raise InputError(f"{key}: not simulated with whole experts in several stages; {expected}")
    count, active = mixture
    layers = sum(n for part, n in model.parts.items() if any(each.is_expert for each in part.matrices))
    policy: ExpertLoad = _made("expert_load", scenario)
    try:
        shares: Any = policy.shares(layers, count, stream(scenario.seed, "expert_load"))
    except ValueError as error:
        if str(error).startswith("path: "):
            raise InputError(f"policy.expert_load: {error}") from error
        raise broken("expert_load", policy.shares, error) from error
    if not (
        isinstance(shares, np.ndarray)
        and shares.shape == (layers, count)
        and np.isfinite(shares).all()
        and (shares >= 0).all()
        and ((shares > 0).sum(axis=1) >= active).all()
    ):
        raise wrong_answer(
            "expert_load", policy.shares, shares,
            f"{layers} x {count} finite numbers >= 0, in each row {active} above 0, as each token picks so many",
            text=_shape(shares),
        )  # fmt: skip
    return replace(model, expert_chances=chances_of(shares, active))


def redundant_experts(scenario: Scenario) -> int:
    """Return the places of a layer beside one for each expert."""
    if "expert_placement" not in of_experts(scenario):
        return 0
    policy = _made("expert_placement", scenario)
    found: int = getattr(policy, "num_redundant_experts", ExpertPlacement.num_redundant_experts)
    return found


def spread_of(model: Model, scenario: Scenario) -> ExpertSpread | None:
    """Return what each GPU has of unevenly picked experts; None where all have as much, or a share of each expert."""
    if not model.expert_chances or not scenario.engine.enable_expert_parallel or _gpus(scenario) == 1:
        return None
    policy: ExpertPlacement = _made("expert_placement", scenario)
    places = len(model.expert_chances[0]) + redundant_experts(scenario)

    def place(load_: Floats, gpus: int) -> Ints:
        placed: Any = policy.place(load_, gpus)
        if not (
            isinstance(placed, np.ndarray)
            and placed.shape == (gpus, places // gpus)
            and np.isin(placed, np.arange(len(load_))).all()
            and len(np.unique(placed)) == len(load_)
        ):
            raise wrong_answer(
                "expert_placement", policy.place, placed,
                f"{gpus} x {places // gpus} numbers of experts, each of {len(load_)} at least once",
                text=_shape(placed),
            )  # fmt: skip
        return placed.astype(np.int64)

    return ExpertSpread(model.expert_chances, _gpus(scenario), place)


def remarks(model: Model, cost: HardwareCost) -> list[str]:
    """Return what is to be known of unevenly picked experts: that it is not validated, and how uneven GPUs are."""
    if not model.expert_chances:
        return []
    spread = cost.spread if isinstance(cost, RanksCost) else None
    said = "" if spread is None else f"; the most loaded GPU has {spread.imbalance:.2f} times the mean"
    return [f"{model.name}: {_UNVALIDATED}{said}"]


def _shape(answer: Any) -> str:
    """Return what a policy answered, without numbers that fill pages."""
    return f"an array of shape {answer.shape}" if isinstance(answer, np.ndarray) else ""


def _gpus(scenario: Scenario) -> int:
    return scenario.engine.tensor_parallel_size * scenario.engine.data_parallel_size


def _made(kind: PolicyKind, scenario: Scenario) -> Any:
    choice = getattr(scenario.policy, kind)
    return load(kind, choice.name)(**choice.params)
