"""From what a scenario comes down to, to the deployment that is simulated: pools, policies, links, faults."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles import load_link
from simulator.blame import wrong_answer
from simulator.cluster.deployment import Deployment, Fault, Faults, MoveCosts, Pool
from simulator.cluster.grading import Grading
from simulator.errors import under_key
from simulator.replica.idle_cost import IdleCost
from simulator.replica.offer import Offer
from simulator.replica.policy import Scheduler
from simulator.rng import stream
from simulator.scenario.discover import PolicyKind, load
from simulator.scenario.kv_offloading import tiers_of
from simulator.scenario.links import hand_off_of, link_of, wires_of
from simulator.scenario.policy import IDLE_POLICY, PolicyChoice
from simulator.scenario.resolve import ResolvedPool, make_policy
from simulator.scenario.scenario import Scenario
from simulator.workload import Workload
from simulator.workload.difficulty import good_answers

# Policies that are a pool's, not the cluster's
OF_A_POOL = ("scaling", "acceptance", "expert_load", "expert_placement")


def deploy(
    scenario: Scenario,
    pools: Sequence[ResolvedPool],
    base_dir: Path | None = None,
    workload: Workload | None = None,
) -> Deployment:
    """Put a scenario's pools, policies, links and faults together; InputError for a link that is unknown.

    What models make of each request of ``workload`` is known where their quality is.
    """
    policy, cluster, first = scenario.policy, scenario.cluster, pools[0]
    profile = under_key("cluster.link.kind", lambda: load_link(cluster.link.kind, base_dir))
    rule, faults = cluster.hand_off, cluster.faults
    return Deployment(
        pools=[
            Pool(
                _maker(each.scheduling, scenario.user.idle_cost, first.cost.overheads.frontend_s),
                each.cost_with_drafts or each.cost,
                each.limits,
                each.replicas,
                each.role,
                None
                if (plan := each.scaling) is None
                else plan.begin(make_policy("scaling", plan.policy), each.layout.gpus),
                each.rules,
                each.tensor_parallel_size,
                each.speculation,
                each.sm_split,
                each.lockstep,
                offer_of(each),
                each.step_jitter,
                wires_of(scenario, each),
            )
            for each in pools
        ],
        router=make_policy("routing", policy.routing),
        **{kind: _unless_idle(kind, getattr(policy, kind)) for kind in IDLE_POLICY if kind not in OF_A_POOL},
        link=link_of(
            cluster.link,
            profile,
            sum(each.kv_bytes_per_token for each in first.stages) * first.tensor_parallel_size,
            first.model.num_hidden_layers,
        ),
        moves=MoveCosts(cluster.migration.handshake_s, cluster.migration.gpu_share),
        hand_off=hand_off_of(
            rule, profile, first.model.num_hidden_layers, make_policy("routing", rule.routing)
        )
        if cluster.disaggregated
        else None,
        faults=Faults(
            [Fault(each.kind, each.replica, each.at_s, each.for_s, each.factor) for each in faults.events],
            float("inf") if faults.mtbf_s is None else faults.mtbf_s,
            faults.repair_s,
            faults.retries,
        ),
        max_gpus=cluster.scaling.max_gpus,
        tiers=tiers_of(scenario, first),
        frontend_s=first.cost.overheads.frontend_s,
        frontend_request_s=1e-3 * scenario.engine.frontend_ms_per_request,
        pace_s=scenario.user.v_s_per_token,
        allowance_s=scenario.user.first_token_allowance_s,
        curve=scenario.user.curve,
        promised={
            name: bound_s
            for name, bound_s in (
                ("ttft_slo_s", scenario.slo.ttft_s),
                ("tpot_slo_s", scenario.slo.tpot_s),
                ("e2e_slo_s", scenario.slo.e2e_s),
            )
            if bound_s is not None
        },
        thinking_share=scenario.user.thinking_share,
        grading=None if workload is None else grading_of(workload, pools, scenario.seed),
        seed=scenario.seed,
        horizon_s=scenario.run.horizon_s,
    )


def offer_of(pool: ResolvedPool) -> Offer:
    """Return what the replicas of a pool offer."""
    usd_per_hour = pool.usd_per_gpu_hour * pool.tensor_parallel_size
    return Offer(pool.name, pool.model.name, usd_per_hour, pool.quality, pool.usd_per_request)


def grading_of(workload: Workload, pools: Sequence[ResolvedPool], seed: int) -> Grading | None:
    """Return how good each pool's answers to the requests are; None where the quality of a model is not known."""
    scores = [each.quality for each in pools]
    difficulty = workload.optional.get("difficulty")
    if difficulty is None or None in scores:
        return None
    hard = difficulty.astype(np.float64)
    good = [good_answers(hard, each.quality or 0.0, seed, each.model.name) for each in pools]
    judge = stream(seed, "judge").random((len(workload), len(pools)))
    return Grading(np.stack(good, axis=1), judge, np.array([each.usd_per_request for each in pools]))


def _unless_idle(kind: PolicyKind, choice: PolicyChoice) -> Any:
    """Return a policy, or None where it is the one that does nothing, so that it need not be asked."""
    return None if choice.name == IDLE_POLICY[kind] else make_policy(kind, choice)


def _maker(choice: PolicyChoice, readers: IdleCost, frontend_s: float) -> Callable[[], Scheduler]:
    """Return what makes a policy for each replica, of a file that is looked at once."""
    policy: type[Scheduler] = load("scheduling", choice.name)

    def make() -> Scheduler:
        made = policy(**choice.params)
        for name, what in (("told", readers), ("told_frontend", frontend_s)):
            method = getattr(made, name)
            told: object = method(what)
            if not isinstance(told, Scheduler):
                raise wrong_answer("scheduling", method, told, "the scheduler itself")
            made = told
        return made

    return make
