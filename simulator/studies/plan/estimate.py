"""How many replicas a line probably needs: a queueing estimate that orders the search and decides nothing.

A replica gets a k-th of the n requests. Its mean batch B is Little's law with the step time at that batch, s(B),
stretched by the share of time that prompts take: B = n/k · stay/(arrivals' span + stay), stay = outputs ·
s(B)/(1 - share). Prompts wait as in an
M/G/k queue (Sakasegawa 1977): share^(sqrt(2(k + 1)) - 1)/(k(1 - share)) · service · (1 + cv²)/2.
"""

from collections.abc import Sequence

import numpy as np

from simulator.replica.cost import StepShape
from simulator.scenario.resolve import ResolvedPool
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import ATTAINMENT, PER_REQUESTED, Goal
from simulator.studies.plan.traffic import Requests

MOST = 10_000  # replicas
_ROUNDS = 60
_FULL = 0.95  # utilisation at which an estimate says no
_SPARE_S = 1.0  # what prompts may take longer than the arrivals
_TAIL = 3.0  # p99 of a wait over its mean, roughly: ln(100) less what the mean prompt already has


def enough(
    pools: Sequence[ResolvedPool], scenario: Scenario, goals: Sequence[Goal], traffic: Requests
) -> int:
    """Return the least multiple of the pools that the estimate finds enough; at most MOST."""
    low, high = 0, 1
    while high < MOST and not _is_enough(pools, scenario, goals, traffic, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_enough(pools, scenario, goals, traffic, middle) else (middle, high)
    return min(high, MOST)


def _is_enough(
    pools: Sequence[ResolvedPool], scenario: Scenario, goals: Sequence[Goal], traffic: Requests, k: int
) -> bool:
    first, last = pools[0], pools[-1]
    rate_rps = len(traffic.prompt) / (traffic.span_s + _SPARE_S)
    prompt, output = float(traffic.prompt.mean()), float(traffic.decoded.mean())
    context = float(traffic.context.sum() / max(traffic.decoded.sum(), 1.0))
    service_s = first.cost.step_s(StepShape(
        prefill_tokens=round(prompt), prefill_seqs=1, prefill_attention_pairs=prompt * prompt / 2,
        prefill_context_tokens=round(prompt),
    ))  # fmt: skip
    each_rps, replicas = rate_rps / (k * first.replicas), k * first.replicas
    idle_s = last.cost.step_s(StepShape(decode_seqs=1, decode_context_tokens=round(context)))
    apart = len(pools) > 1
    # A prompt beside decodes takes what it adds to their step.
    share = each_rps * (service_s if apart else max(service_s - idle_s, 0.2 * service_s))
    if share >= _FULL:
        return False
    slots = min(last.limits.max_num_seqs, last.usable_blocks * last.limits.block_size / max(context, 1.0))
    step_s, batch = idle_s, 1.0
    for _ in range(_ROUNDS):
        pace_s = step_s if apart else step_s / (1 - share)
        stay_s = output * pace_s
        wanted = len(traffic.prompt) * stay_s / (traffic.span_s + stay_s) / (k * last.replicas)
        if wanted > slots:
            return False
        batch = 0.5 * (batch + wanted)
        seqs = max(1, round(batch))
        step_s = last.cost.step_s(StepShape(decode_seqs=seqs, decode_context_tokens=round(seqs * context)))
    pace_s = step_s if apart else step_s / (1 - share)
    variation = float(np.var(traffic.prompt) / prompt**2)
    exponent = (2 * (replicas + 1)) ** 0.5 - 1
    wait_s = share**exponent / (replicas * (1 - share)) * service_s * (1 + variation) / 2
    ttft_s = service_s + (0.0 if apart else step_s) + _TAIL * wait_s
    return _keeps(scenario, goals, ttft_s, pace_s)


def _keeps(scenario: Scenario, goals: Sequence[Goal], ttft_s: float, pace_s: float) -> bool:
    """Whether a time to first token and a time per token leave the goals room, as far as they speak of these.

    Every reader is taken for a steady one with the user model's V.
    """
    user, slo = scenario.user, scenario.slo
    for goal in goals:
        if goal.metric in (ATTAINMENT, PER_REQUESTED) and (
            pace_s > user.v_s_per_token
            or (goal.metric == ATTAINMENT and ttft_s > user.first_token_allowance_s + user.v_s_per_token)
        ):
            return False
        if goal.metric.startswith("slo.attainment") and (
            ttft_s > (slo.ttft_s or ttft_s) or pace_s > (slo.tpot_s or pace_s)
        ):
            return False
        if goal.metric.startswith("latency.ttft_s") and not goal.at_least and ttft_s > goal.bound:
            return False
        if goal.metric.startswith(("latency.tpot_s", "latency.tbt_s")) and pace_s > goal.bound:
            return False
    return True
