"""What can be said of a line of candidates without simulating it: what cannot be, and where to look first.

Sure bounds, each lowered (or raised) by ``TRUST`` because the cost model is asked on a grid of steps only:

* Memory: the model, and the longest request of the traffic, must fit (``resolve_pool``); of a mix one kind's.
* Alone: a request on an idle replica waits for its prompt and then for one decode step a token. If too many
  requests miss a goal even so, no number of replicas helps. Of a mix the faster kind counts, for each of the two.
* Work: what is in a window has to be done by its deadlines (``work.py``).

The estimate, which only orders the search: the least number of replicas whose M/G/k queue, mean batch (Little's
law) and step time at that batch leave the goals room.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware_profiles import HardwareCost
from simulator.errors import InputError
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.demands import demands
from simulator.studies.plan.estimate import enough
from simulator.studies.plan.goals import Goal
from simulator.studies.plan.traffic import Requests
from simulator.studies.plan.work import PoolsLoad, loads

TRUST = 0.9  # share of a bound on time that is relied on
_ROUND = 32  # prompts are rounded down to as many tokens: fewer steps to price


@dataclass(frozen=True)
class Judgement:
    """What is known of a line before any simulation."""

    refused: str | None  # why no number of replicas will do; None: some may
    kind: str  # "fit" or "bound", of what refused
    least: int  # fewest replicas that may do, by the work bound; of a ratio: in all
    estimate: int  # replicas that the queueing estimate asks for, same unit; capped


@dataclass(frozen=True)
class Needs:
    """What the goals ask of pools, however many replicas they have."""

    refused: str | None = None
    kind: str = "fit"
    loads: Sequence[PoolsLoad] = ()

    def judge(self, replicas: Sequence[int], estimate: int, counts: Sequence[int], unit: int) -> Judgement:
        """Judge a line whose smallest cluster has ``replicas`` in its pools; ``estimate`` such clusters may do."""
        if self.refused is not None:
            return Judgement(self.refused, self.kind, counts[0], counts[-1])
        least, top = 1, counts[-1]
        for weights, needed in self.loads:
            units = needed / sum(w * n for w, n in zip(weights, replicas, strict=True))
            least = max(least, math.ceil(TRUST * units - 1e-9))
        if least * unit > top:
            text = f"the work needs at least {least * unit} replicas"
            return Judgement(text, "bound", least * unit, least * unit)
        return Judgement(None, "", least * unit, min(max(least, estimate) * unit, 10 * top))


def judge(
    scenario: Scenario,
    base_dir: Path | None,
    goals: Sequence[Goal],
    traffic: Requests,
    counts: Sequence[int],
    unit: int,
) -> Judgement:
    """Judge a line by its smallest possible member, ``scenario``, of whose ``unit`` replicas all are multiples.

    ``traffic`` is that of the first seed, which has to keep the goals like every other; ``counts`` are the
    replicas there are to choose from, ascending.
    """
    try:
        pools = resolve_pools(scenario, base_dir)
    except InputError as error:
        return Needs(str(error)).judge((), 0, counts, unit)
    needs = _needs(pools, scenario, goals, traffic)
    units = enough(pools, scenario, goals, traffic) if needs.refused is None else 0
    return needs.judge([pool.replicas for pool in pools], units, counts, unit)


class MixJudge:
    """Judges mixes of the same two kinds of replicas, in any ratio."""

    def __init__(
        self, scenario: Scenario, base_dir: Path | None, goals: Sequence[Goal], traffic: Requests
    ) -> None:
        """Look at the kinds of ``scenario``, as ``judge`` does."""
        self._alone: list[int] = []  # estimated to be enough of each kind, without the other
        try:
            pools = resolve_pools(scenario, base_dir)
        except InputError as error:
            self._needs = Needs(str(error))
            return
        self._needs = _needs(pools, scenario, goals, traffic)
        if self._needs.refused is None:
            self._alone = [enough([pool._replace(replicas=1)], scenario, goals, traffic) for pool in pools]

    def judge(self, ratio: Sequence[int], counts: Sequence[int]) -> Judgement:
        """Judge the line of a ratio."""
        served = sum(mine / alone for mine, alone in zip(ratio, self._alone, strict=False))
        return self._needs.judge(ratio, math.ceil(1 / served - 1e-9) if served else 0, counts, sum(ratio))


def _needs(
    pools: Sequence[ResolvedPool], scenario: Scenario, goals: Sequence[Goal], traffic: Requests
) -> Needs:
    """Return what the goals ask of the pools of a scenario, or why they cannot keep them."""
    mixed = scenario.cluster.pools is not None
    small = [
        pool.limits.max_model_len
        for pool in pools
        if pool.limits.max_model_len < min(traffic.longest, pool.model.max_position_embeddings)
    ]
    if small and (not mixed or len(small) == len(pools)):
        return Needs(f"the KV cache holds {small[0]:,} tokens, the longest request needs {traffic.longest:,}")
    if traffic.longest > min(pool.limits.max_model_len for pool in pools):
        return Needs()  # who is cut short is less work than it asks for
    served = [[pool] for pool in pools] if mixed else [pools]
    each = [_Alone(some, traffic) for some in served]
    ttft_s = np.min([one.ttft_s for one in each], axis=0)
    step_s = np.min([one.step_s for one in each], axis=0)
    found: list[PoolsLoad] = []
    for goal in goals:
        arrays = traffic.prompt, traffic.output, traffic.span_s, ttft_s, step_s
        for demand in demands(goal, scenario, *arrays, traffic.alike):
            could = int(np.count_nonzero(demand.alone_in_time))
            if could < demand.needed:
                text = (
                    f"{goal}: at most {could:,} of {demand.needed:,} requests in time even on an idle replica"
                )
                return Needs(text, "bound")
            if traffic.timed and traffic.span_s > 0:
                found += loads(pools, scenario, traffic, demand)
    return Needs(loads=found)


class _Alone:
    """Least time to first token and of a decode step for each request on an idle replica, f64[n]."""

    def __init__(self, pools: Sequence[ResolvedPool], traffic: Requests) -> None:
        first, last = pools[0], pools[-1]
        rounded = np.maximum(1, traffic.prompt // _ROUND * _ROUND).astype(np.int64)
        sizes, place = np.unique(rounded, return_inverse=True)
        frontend_s = first.cost.overheads.frontend_s
        budget = first.limits.max_num_batched_tokens
        prompt_s = np.array([_prompt_s(first.cost, int(size), budget) for size in sizes])
        if traffic.cached:
            prompt_s[:] = 0.0
        step_s = np.array([
            last.cost.step_s(StepShape(decode_seqs=1, decode_context_tokens=int(size))) for size in sizes
        ])  # fmt: skip
        self.ttft_s = TRUST * (prompt_s + frontend_s)[place]
        self.step_s = TRUST * step_s[place] / last.most_tokens_a_step


def _prompt_s(cost: HardwareCost, tokens: int, budget: int) -> float:
    """Seconds of a prompt alone, in chunks as large as the budget allows."""
    total, prior, last_s, last_busiest_s = 0.0, 0, 0.0, 0.0
    while prior < tokens:
        chunk = min(budget, tokens - prior)
        shape = StepShape()
        shape.count(chunk, prior, False, 1)
        last_s, last_busiest_s = cost.step_s(shape), cost.busiest_s(shape)
        total += last_busiest_s
        prior += chunk
    if (
        last_busiest_s < last_s
    ):  # in a pipeline chunks follow one another; the last one goes through all stages
        return max(total, last_s)
    return total
