"""The rate above which no schedule serves all that arrives, by the least work that the cost model has for a request.

As a plan's bound on work (``simulator.studies.plan.work``): prices of a prompt token, a decoded token and a token of
context under which no step is cheaper than what it computes, and so no request cheaper than its tokens; and each token
of an answer takes one of the seats for a step, whose number and least time are known.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.replica.cost import StepShape
from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.bounds import TRUST
from simulator.studies.plan.traffic import Requests, may_be_cached
from simulator.studies.plan.work import Prices
from simulator.workload import Workload, build

FEWEST_DRAWN = (
    10_000  # requests whose lengths are drawn for the bound: a run's own are lighter or heavier by luck
)


def most_rate(scenario: Scenario, base_dir: Path | None, requests: int | None) -> float:
    """Return an upper bound on arrivals (of requests, or of sessions) per second that all replicas together can serve.

    The traffic is a trace, or as many ``requests`` as a run has, and ``FEWEST_DRAWN`` at least. Infinite where
    nothing is known to take time. Raises InputError for a scenario that cannot be simulated.
    """
    drawn = scenario
    if requests is not None:
        count = max(requests, FEWEST_DRAWN)
        drawn = scenario.with_overrides(["workload.duration_s=none", f"workload.requests={count}"])
    pools = resolve_pools(scenario, base_dir)
    workload = build(drawn.workload, scenario.seed, base_dir)
    served = _as_served(workload, pools)
    if served is None:
        return math.inf
    traffic = Requests(served, may_be_cached(scenario, workload))
    work_s = _work_s(scenario, pools, traffic)
    # Steps that are shorter than the cost model says (a fault below 1, of a band) do more.
    work_s *= min([1.0, *(each.factor for each in scenario.cluster.faults.events if each.kind == "slow")])
    return arrivals(workload) / (TRUST * work_s) if work_s > 0 else math.inf


def arrivals(workload: Workload) -> int:
    """Return how many requests come by themselves; a session's later turns follow its first."""
    if workload.session is None:
        return len(workload.arrival_s)
    alone = workload.session < 0
    return int(alone.sum()) + len(np.unique(workload.session[~alone]))


def _as_served(workload: Workload, pools: Sequence[ResolvedPool]) -> Workload | None:
    """Return the requests as engines take them: those that fit, with answers cut to what the model allows."""
    longest = min(pool.limits.max_model_len for pool in pools)
    fits = workload.prompt_tokens < longest
    if not fits.any():
        return None
    prompt, output = workload.prompt_tokens[fits], workload.output_tokens[fits]
    output = np.minimum(output, longest - prompt)
    return Workload(workload.name, np.zeros(len(prompt)), prompt, output, int(output.max()), workload.source)


def _work_s(scenario: Scenario, pools: Sequence[ResolvedPool], traffic: Requests) -> float:
    """Return the least seconds that the pools need for the traffic, all their replicas at work."""
    tied = scenario.cluster.hand_off.when_full != "colocate" and scenario.policy.roles.name == "fixed"
    if tied:  # each pool does its part, and no other can help it out
        return max(_alone_s(pool, traffic) / pool.places for pool in pools)
    prices = [Prices(pool._replace(role="both"), traffic).prices for pool in pools]
    prompt = 0.0 if traffic.cached else float(traffic.prompt.sum())
    work_s = float(np.min(prices, axis=0) @ [prompt, traffic.decoded.sum(), traffic.context.sum()])
    seats_s = min(_seat_s(pool) for pool in pools) * float(traffic.output.sum())
    return max(work_s, seats_s) / sum(pool.places for pool in pools)


def _alone_s(pool: ResolvedPool, traffic: Requests) -> float:
    """Return the least seconds that one replica of a pool needs for its part of the traffic."""
    prefill, decode = pool.role != "decode", pool.role != "prefill"
    steps = prefill * len(traffic.output) + decode * float(traffic.decoded.sum())
    work_s = float(Prices(pool, traffic, prefill, decode).work_s(traffic).sum())
    return max(work_s, _seat_s(pool) * steps)


def _seat_s(pool: ResolvedPool) -> float:
    """Return the least seconds that a token of an answer takes: a seat for a step, also where its prompt is cached."""
    shortest_s = pool.cost.step_s(StepShape(decode_seqs=1, decode_context_tokens=1))
    shortest_s /= pool.most_tokens_a_step
    return shortest_s / min(pool.limits.max_num_seqs, pool.limits.max_num_batched_tokens)
