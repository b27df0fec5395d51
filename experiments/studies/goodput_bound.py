"""What no scheduling policy can exceed in smooth goodput, even one that knows everything."""

from pathlib import Path
from typing import Any

import numpy as np

from simulator.replica.cost import StepShape
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.scenario import Scenario
from simulator.workload import build


def bound(what: Scenario) -> tuple[float, float]:
    """Return the benefit that no policy can exceed, knowing everything, and the tokens offered.

    With linear f, the clock from the arrival and one V > 0. A request idles at least until its first token could come
    if it were alone. And at any time t, the work that could be done by then brings at most so much of the
    waiting until t to an end (a fractional knapsack over requests); what is left is idle latency.
    """
    user = what.user
    pace_s = user.v_s_per_token
    workload = build(what.workload, what.seed, Path())
    server = resolve_pool(what)
    price = server.cost.step_s
    arrival = workload.arrival_s - workload.arrival_s[0]
    prompt = workload.prompt_tokens.astype(float)
    output = np.minimum(workload.output_tokens, server.limits.max_model_len - prompt)
    prompt_s, token_s, context_s = _least_prices(price)
    sizes, which = np.unique(workload.prompt_tokens, return_inverse=True)
    alone_s = (
        np.array([_step_s(price, int(size), 0.5 * size * size) for size in sizes])[which]
        + server.cost.overheads.frontend_s
    )
    lone_s = price(StepShape(decode_seqs=1, decode_context_tokens=1))

    def work_s(tokens: Any) -> Any:
        later = np.maximum(tokens - 1, 0)
        return prompt_s * prompt + token_s * later + context_s * later * (prompt + tokens / 2)

    lasts_s = max(float((arrival + alone_s + (output - 1) * lone_s).max()), float(work_s(output).sum()))
    idle_s = float(np.maximum(alone_s - pace_s, 0).sum())
    for time_s in np.linspace(0.2 * arrival[-1], lasts_s, 25):
        waited_s = time_s - arrival - pace_s
        due = np.clip(np.floor((time_s - arrival) / pace_s), 1, output)
        here = waited_s > 0
        gain, cost = waited_s[here], work_s(due)[here]
        order = np.argsort(-gain / cost)
        done = np.minimum(1, np.maximum(0, time_s - np.cumsum(cost[order]) + cost[order]) / cost[order])
        idle_s = max(idle_s, float(gain.sum() - (gain[order] * done).sum()))
    total = float(output.sum())
    return total - user.alpha_tokens * idle_s, total


def _step_s(price: Any, tokens: int, pairs: float, decodes: int = 0, context: int = 0) -> float:
    """Seconds of a step with a prompt of that many tokens beside decodes of that much context."""
    shape = StepShape(decode_seqs=decodes, decode_context_tokens=decodes * context)
    if tokens:
        shape.prefill_tokens = shape.prefill_context_tokens = tokens
        shape.prefill_seqs, shape.prefill_attention_pairs = 1, pairs
    return float(price(shape))


def _least_prices(price: Any) -> tuple[float, float, float]:
    """Prices of a prompt token, a decode and a token of its context that no step shape tried undercuts."""
    sizes = (512, 1024, 2048, 4096, 8192)
    prompt_s = min(_step_s(price, tokens, 0.5 * tokens) / tokens for tokens in sizes)
    tried = np.array(
        [
            (decodes, decodes * context, _step_s(price, tokens, 0.5 * tokens, decodes, context))
            for decodes in (1, 8, 32, 64, 128, 256, 512, 1024)
            for context in (64, 256, 1024, 4096)
            for tokens in (0, 256, *sizes)
            if decodes * context <= 450_000
        ]
    )
    prompts = np.tile((0, 256, *sizes), len(tried) // (len(sizes) + 2))
    rest_s = tried[:, 2] - prompt_s * prompts
    choices = []
    for context_s in np.linspace(0, (rest_s / tried[:, 1]).min(), 60):
        token_s = ((rest_s - context_s * tried[:, 1]) / tried[:, 0]).min()
        if token_s >= 0:
            choices.append((token_s + 900 * context_s, token_s, context_s))
    _, token_s, context_s = max(choices)
    return prompt_s, float(token_s), float(context_s)
