"""The reference loops: the least that a SimPy simulation of continuous batching can do.

One process a replica, one timeout per iteration, O(1) work a step: requests are admitted first come first
served under a token budget and a seat limit, prompts are computed in chunks, finishing requests wait in a
bucket keyed by iteration. No KV blocks, no records, no policies, no metrics. Engine times are stated
as multiples of these loops measured in the same run.

Here each replica knows its requests beforehand: round robin. ``reference_pools`` has the loops whose replicas
are fed while they run.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

StepPrice = Callable[
    [int, int, int], float
]  # (prefill tokens, decoding sequences, context tokens) -> seconds


def reference_loop(
    arrival_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    *,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    replicas: int = 1,
) -> tuple[float, int]:
    """Serve the requests on replicas in turn; return the time of the last event in seconds and the iterations.

    Raises ValueError for lists that are not equally long.
    """
    if not len(arrival_s) == len(prompt_tokens) == len(output_tokens):
        raise ValueError("expected as many arrivals as prompts and outputs")
    clock = simpy.Environment()
    iterations: list[int] = []
    for first in range(replicas):
        share = slice(first, None, replicas)
        clock.process(
            _serve(
                clock,
                iterations,
                arrival_s[share],
                prompt_tokens[share],
                output_tokens[share],
                step_s,
                max_num_seqs,
                max_num_batched_tokens,
            )
        )
    clock.run()
    return clock.now, sum(iterations)


def _serve(
    clock: simpy.Environment,
    iterations: list[int],
    arrival_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    max_num_seqs: int,
    max_num_batched_tokens: int,
) -> Generator[simpy.Event, Any, None]:
    n, following = len(arrival_s), 0
    waiting: deque[int] = deque()
    finishing: dict[int, list[int]] = {}
    running = decoding = context = iteration = 0
    partial = -1  # the one request whose prompt is half computed
    left = 0
    while True:
        now = clock.now
        while following < n and arrival_s[following] <= now:
            waiting.append(following)
            following += 1
        if not running and not waiting:
            if following == n:
                iterations.append(iteration)
                return
            yield clock.timeout(arrival_s[following] - now)
            continue
        budget = max_num_batched_tokens - decoding
        prefill = 0
        completed: list[int] = []
        while budget > 0:
            if partial < 0:
                if not waiting or running >= max_num_seqs:
                    break
                partial = waiting.popleft()
                left = prompt_tokens[partial]
                running += 1
            chunk = left if left <= budget else budget
            left -= chunk
            budget -= chunk
            prefill += chunk
            if left:
                break
            completed.append(partial)
            partial = -1
        yield clock.timeout(step_s(prefill, decoding, context + decoding))
        iteration += 1
        context += decoding
        done = finishing.pop(iteration, None)
        if done:
            decoding -= len(done)
            running -= len(done)
            for request in done:
                context -= prompt_tokens[request] + output_tokens[request] - 1
        for request in completed:
            more = output_tokens[request] - 1
            if more:
                decoding += 1
                context += prompt_tokens[request]
                finishing.setdefault(iteration + more, []).append(request)
            else:
                running -= 1
