"""How each pool is scaled, and whether the GPUs that pools share can be enough."""

from collections.abc import Sequence
from typing import NamedTuple

from hardware_profiles import Model
from simulator.cluster.deployment import Scaling
from simulator.cluster.policy import Scaler
from simulator.errors import InputError
from simulator.scenario.cluster import Bounds, ScalingSpec
from simulator.scenario.policy import IDLE_POLICY, PolicyChoice


class ScalingPlan(NamedTuple):
    """How a pool is scaled: ``simulator.cluster.deployment.Scaling`` with the policy's name."""

    policy: PolicyChoice
    min_replicas: int
    max_replicas: int
    provision_s: float
    load_s: float

    def begin(self, policy: Scaler, gpus: int) -> Scaling:
        """Return it with an instance of the policy, for replicas of so many GPUs."""
        return Scaling(policy, self.min_replicas, self.max_replicas, self.provision_s, self.load_s, gpus)


def plan_of(bounds: Bounds, spec: ScalingSpec, model: Model) -> ScalingPlan | None:
    """Return how a pool of a model is scaled; None for one that is not."""
    if bounds.policy.name == IDLE_POLICY["scaling"]:
        return None
    assert bounds.max_replicas is not None
    load_s = model.weight_bytes / (spec.load_gb_s * 1e9) if spec.load_s is None else spec.load_s
    return ScalingPlan(bounds.policy, bounds.min_replicas, bounds.max_replicas, spec.provision_s, load_s)


def check_max_gpus(max_gpus: int | None, pools: Sequence[tuple[str, int, int, ScalingPlan | None]]) -> None:
    """Raise InputError unless the start fits, and a replica of any pool beside the least of all others.

    ``pools`` are names, replicas at the start, GPUs of a replica, and how they are scaled.
    """
    if max_gpus is None:
        return
    scaled = [(name, replicas, gpus, plan) for name, replicas, gpus, plan in pools if plan is not None]
    there = sum(replicas * gpus for _, replicas, gpus, _ in scaled)
    if there > max_gpus:
        raise InputError(
            f"cluster.scaling.max_gpus: {max_gpus} found for {there} GPUs at the start; expected as many, or fewer"
            " replicas at the start (a pool may have 0)"
        )
    least = sum(plan.min_replicas * gpus for _, _, gpus, plan in scaled)
    for name, _, gpus, plan in scaled:
        needed = least if plan.min_replicas else least + gpus
        if needed > max_gpus:
            raise InputError(
                f"cluster.scaling.max_gpus: {max_gpus} found; expected at least {needed}, for a replica of"
                f" cluster.pools.{name} beside min_replicas of all pools"
            )
