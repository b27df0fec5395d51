"""What can be said of a line of candidates without simulating it: what cannot be, and where to look first.

Sure bounds, each lowered (or raised) by ``TRUST`` because the cost model is asked on a grid of steps only:

* Memory: the model, and the longest request of the traffic, must fit (``resolve_pool``).
* Alone: a request on an idle replica waits for its prompt and then for one decode step a token. If too many
  requests miss a goal even so, no number of replicas helps.
* Work: let a, b, e be prices of a prompt token, a decoded token and a token of context such that no step of the
  cost model is cheaper than the tokens in it, a·p + b·d + e·c <= step(p, d, c), at every batch that the limits and
  the memory allow; linear programming finds the prices under which the traffic is worth most. That is the least
  time any schedule needs for it. Of all requests that arrive in a window, those that must meet the goal (the
  rest taken to be the dearest) have to be computed before the last of their deadlines.

The estimate, which only orders the search: the least number of replicas whose M/G/k queue, mean batch (Little's
law) and step time at that batch leave the goals room.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hardware_profiles import HardwareCost
from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.demands import Demand, demands
from simulator.studies.plan.estimate import enough
from simulator.studies.plan.goals import Goal
from simulator.studies.plan.traffic import Requests

TRUST = 0.9  # share of a bound on time that is relied on
_WINDOWS = (1, 2, 4, 8, 16, 32)  # the arrivals' span over so much, each window half over the next
_ROUND = 32  # prompts are rounded down to as many tokens: fewer steps to price


@dataclass(frozen=True)
class Judgement:
    """What is known of a line before any simulation."""

    refused: str | None  # why no number of replicas will do; None: some may
    kind: str  # "fit" or "bound", of what refused
    least: int  # fewest replicas that may do, by the work bound; of a ratio: in all
    estimate: int  # replicas that the queueing estimate asks for, same unit; capped


class Prices:
    """Least seconds of a prompt token, a decoded token and a token of context on one replica of a pool."""

    def __init__(
        self, server: ResolvedPool, traffic: Requests, prefill: bool = True, decode: bool = True
    ) -> None:
        self.server, self.prefill, self.decode = server, prefill, decode
        demand = np.array([
            traffic.prompt.sum() if prefill and not traffic.cached else 0.0,
            traffic.decoded.sum() if decode else 0.0,
            traffic.context.sum() if decode else 0.0,
        ])  # fmt: skip
        pairs = float(np.square(traffic.prompt).sum() / 2 / traffic.prompt.sum())
        longest = int(traffic.prompt.max())
        steps, seconds = _steps(server, float(traffic.prompt.mean()), longest, pairs, prefill, decode)
        self.prices = _worth_most(demand, steps, seconds)

    def work_s(self, traffic: Requests) -> Floats:
        """Return the least replica-seconds of each request, f64[n]."""
        prompt, decoded, context = self.prices.tolist()
        work_s: Floats = decoded * traffic.decoded + context * traffic.context
        return work_s if traffic.cached else work_s + prompt * traffic.prompt


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
    base = Judgement(None, "fit", counts[0], counts[-1])
    try:
        pools = resolve_pools(scenario, base_dir)
    except InputError as error:
        return replace(base, refused=str(error))
    for pool in pools:
        if pool.limits.max_model_len < min(traffic.longest, pool.model.max_position_embeddings):
            return replace(
                base,
                refused=f"the KV cache holds {pool.limits.max_model_len:,} tokens, the longest request needs"
                f" {traffic.longest:,}",
            )
    least, alone = 1, _Alone(pools, traffic)
    whole = traffic.longest <= min(pool.limits.max_model_len for pool in pools)
    for goal in goals if whole else ():  # who is cut short is less work than it asks for
        arrays = traffic.prompt, traffic.output, traffic.span_s, alone.ttft_s, alone.step_s
        for demand in demands(goal, scenario, *arrays, traffic.alike):
            could = int(np.count_nonzero(demand.alone_in_time))
            if could < demand.needed:
                text = (
                    f"{goal}: at most {could:,} of {demand.needed:,} requests in time even on an idle replica"
                )
                return replace(base, refused=text, kind="bound")
            if traffic.timed and traffic.span_s > 0:
                least = max(least, _least_units(pools, scenario, traffic, demand))
    estimate = max(least, enough(pools, scenario, goals, traffic))
    top = counts[-1]
    if least * unit > top:
        text = f"the work needs at least {least * unit} replicas"
        return Judgement(text, "bound", least * unit, least * unit)
    return Judgement(None, "", least * unit, min(estimate * unit, 10 * top))


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


def _steps(
    server: ResolvedPool, prompt: float, longest: int, pairs: float, prefill: bool, decode: bool
) -> tuple[Floats, Floats]:
    """Return steps as rows (prompt tokens, decodes, context) that limits and memory allow, and their seconds.

    For each number of decodes they go up to the most prompt tokens that its free seats can take, ``longest`` each:
    tokens are cheapest by the many.
    """
    limits, each = server.limits, server.most_tokens_a_step
    budget, memory = limits.max_num_batched_tokens, server.usable_blocks * limits.block_size
    most = min(limits.max_num_seqs, budget, memory)
    grid = _grid(min(budget, limits.max_num_seqs * longest), 12, 8) if prefill else [0]
    rows, seconds = [], []
    for decodes in _grid(most, 14, 0) if decode else [0]:
        most_context = min(memory, decodes * limits.max_model_len)
        contexts = np.unique(np.geomspace(max(1, decodes), max(1, most_context), 5).astype(np.int64))
        seats = limits.max_num_seqs - decodes
        top = min(budget - decodes, seats * longest) if prefill else 0
        chunks = sorted({top, *(tokens for tokens in grid if tokens < top)})
        for context in contexts.tolist() if decodes else [0]:
            for tokens in chunks:
                if tokens + decodes == 0:
                    continue
                seqs = min(max(1, round(tokens / prompt)), seats) if tokens else 0
                rows.append((tokens, decodes * each, context * each))
                seconds.append(server.cost.busiest_s(StepShape(
                    prefill_tokens=tokens, prefill_seqs=seqs, prefill_attention_pairs=tokens * pairs,
                    prefill_context_tokens=tokens, decode_seqs=decodes, decode_context_tokens=context,
                )))  # fmt: skip
    return np.array(rows, dtype=np.float64), np.array(seconds)


def _grid(most: int, geometric: int, even: int) -> list[int]:
    """Return 0 and numbers up to ``most``: some by a factor apart, some evenly."""
    found = {0, *np.geomspace(1, most, geometric).round().astype(int).tolist()}
    found |= {most * i // even for i in range(1, even + 1)} if even else set()
    return sorted(found)


def _worth_most(demand: Floats, steps: Floats, seconds: Floats) -> Floats:
    """Return prices >= 0 under which no step is cheaper than its tokens and the demand is worth most."""
    from scipy.optimize import linprog

    scale = np.maximum(steps.max(axis=0), 1.0)
    found = linprog(-demand * (1 / scale), A_ub=steps / scale, b_ub=seconds, bounds=(0, None), method="highs")
    if not found.success:
        return np.zeros(3)
    prices: Floats = np.asarray(found.x) / scale
    return prices


def _least_units(pools: Sequence[ResolvedPool], scenario: Scenario, traffic: Requests, demand: Demand) -> int:
    """Return the fewest multiples of the line's smallest cluster whose time the demanded work fits into."""
    return max(
        math.ceil(TRUST * seconds / pool.replicas - 1e-9)
        for pool, seconds in _load(pools, scenario, traffic, demand)
    )


def _load(
    pools: Sequence[ResolvedPool], scenario: Scenario, traffic: Requests, demand: Demand
) -> list[tuple[ResolvedPool, float]]:
    """Return the busiest window's work over its time, in replicas, for each pool that has to do it."""
    found = []
    for pool in pools:
        prices = _prices(pool, scenario, traffic, demand.decodes)
        if prices is not None:
            found.append((pool, _busiest(prices.work_s(traffic), traffic, demand)))
    return found or [(pools[0], 0.0)]


def _prices(pool: ResolvedPool, scenario: Scenario, traffic: Requests, decodes: bool) -> Prices | None:
    """Return what work costs that only this pool can do; None where another pool may help out."""
    prefill, decode = pool.role != "decode", decodes and pool.role != "prefill"
    if pool.role != "both":
        if scenario.cluster.hand_off.when_full == "colocate" or scenario.policy.roles.name != "fixed":
            return None
        if not (prefill or decode):
            return None
    key = (
        pool.gpu.name, pool.gpu.path, pool.model.shape, str(pool.layout), pool.cost.kind,
        pool.cost.overheads.engine_version, pool.most_tokens_a_step, vars(pool.limits).values(), pool.usable_blocks,
        prefill, decode,
    )  # fmt: skip
    known = traffic.prices.get(str(key))
    if not isinstance(known, Prices):
        known = traffic.prices[str(key)] = Prices(pool, traffic, prefill, decode)
    return known


def _busiest(work_s: Floats, traffic: Requests, demand: Demand) -> float:
    """Return the most work over time, in replicas, of windows of arrivals, the dearest spared as far as allowed."""
    spare = len(work_s) - demand.needed
    start_s, most = float(traffic.arrival_s[0]), 0.0
    for parts in _WINDOWS:
        width_s = traffic.span_s / parts
        for begin_s in np.arange(0, traffic.span_s, width_s / 2):
            low, high = np.searchsorted(traffic.arrival_s - start_s, [begin_s, begin_s + width_s])
            if high - low <= spare:
                continue
            inside = np.partition(work_s[low:high], high - low - spare - 1)[: high - low - spare]
            until_s = float((traffic.arrival_s[low:high] + demand.deadline_s[low:high]).max())
            most = max(most, float(inside.sum()) / max(until_s - float(traffic.arrival_s[low]), 1e-9))
    return most
