"""How much work a traffic is at least: prices of tokens below which no schedule computes them.

Let a, b, e be prices of a prompt token, a decoded token and a token of context such that no step of the cost model is
cheaper than the tokens in it, a·p + b·d + e·c <= step(p, d, c), at every batch that the limits and the memory allow;
linear programming finds the prices under which the traffic is worth most. That is the least time any schedule needs
for it. Of all requests that arrive in a window, those that must meet the goal (the rest taken to be the dearest) have
to be computed before the last of their deadlines.

Of a mix no schedule is known, only that what one kind does the other does not. For any weights w >= 0 of the kinds'
replica-seconds, with prices p, a token costs at least min over kinds of w·p, and all of them at most the time
times the sum of w over the replicas. The bound is sharpest at weights at which two of those prices tie.
"""

from collections.abc import Sequence

import numpy as np

from simulator.arrays import Floats
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import ResolvedPool
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.demands import Demand
from simulator.studies.plan.traffic import Requests

PoolsLoad = tuple[
    tuple[float, ...], float
]  # weights of the pools' replicas, and how many weighted replicas are needed

_WINDOWS = (1, 2, 4, 8, 16, 32)  # the arrivals' span over so much, each window half over the next


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
        return _work_s(self.prices, traffic)


def loads(
    pools: Sequence[ResolvedPool], scenario: Scenario, traffic: Requests, demand: Demand
) -> list[PoolsLoad]:
    """Return what the busiest window asks of the pools, in ways that all must hold."""
    prices = [_prices(pool, scenario, traffic, demand.decodes) for pool in pools]
    if scenario.cluster.pools is not None:
        return _loads_of_mix([each.prices for each in prices if each is not None], traffic, demand)
    found: list[PoolsLoad] = []
    for place, each in enumerate(prices):
        if each is not None:
            weights = tuple(float(place == other) for other in range(len(pools)))
            found.append((weights, _busiest(each.work_s(traffic), traffic, demand)))
    return found


def _loads_of_mix(prices: Sequence[Floats], traffic: Requests, demand: Demand) -> list[PoolsLoad]:
    table = np.array(prices)  # a row a pool
    found: list[PoolsLoad] = []
    for tied in table.T[(table > 0).all(axis=0)]:
        weights = tied.min() / tied
        least = (weights[:, None] * table).min(axis=0)
        found.append((tuple(weights.tolist()), _busiest(_work_s(least, traffic), traffic, demand)))
    return found


def _work_s(prices: Floats, traffic: Requests) -> Floats:
    prompt, decoded, context = prices.tolist()
    work_s: Floats = decoded * traffic.decoded + context * traffic.context
    return work_s if traffic.cached else work_s + prompt * traffic.prompt


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
        pool.cost.overheads.engine_version, pool.most_tokens_a_step, pool.limits, pool.usable_blocks,
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
