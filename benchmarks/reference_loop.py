"""The reference loop: the least that a SimPy simulation of continuous batching can do.

One process, one timeout per iteration, O(1) work a step: requests are admitted first come first served
under a token budget and a seat limit, prompts are computed in chunks, finishing requests wait in a
bucket keyed by iteration. No KV blocks, no records, no policies, no metrics. Engine times are stated
as multiples of this loop measured in the same run.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy


def reference_loop(
    arrival_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: Callable[[int, int, int], float],
    *,
    max_num_seqs: int,
    max_num_batched_tokens: int,
) -> tuple[float, int]:
    """Serve the requests; return the time of the last event in seconds and the number of iterations.

    ``step_s(prefill_tokens, decode_seqs, decode_context_tokens)`` prices an iteration.
    """
    clock = simpy.Environment()
    ends: list[float] = []

    def serve() -> Generator[simpy.Event, Any, None]:
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
            ends.append(clock.now)
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

    clock.process(serve())
    clock.run()
    return clock.now, len(ends)
