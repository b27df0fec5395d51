"""Reference loops whose replicas are fed while they run: prefill and decode apart, or the least loaded of many.

In the spirit of ``reference_loop``: one timeout per iteration, O(1) work a step, no KV blocks, no records, no
policies. A hand-over is one timeout of the KV's bytes over the bandwidth, links are not shared, memory is never
full. The least loaded replica is found by ``min`` over all of them, at each arrival.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import simpy

from benchmarks.reference_loop import StepPrice


class Served:
    """What is brought to a replica, and how it is woken for it."""

    def __init__(self, clock: simpy.Environment) -> None:
        """Have nothing to do."""
        self.clock = clock
        self.waiting: deque[int] = deque()
        self.asleep: simpy.Event | None = None
        self.iterations = 0

    def take(self, request: int, event: simpy.Event | None = None) -> None:
        """Queue a request."""
        self.waiting.append(request)
        if self.asleep is not None:
            self.asleep.succeed()
            self.asleep = None

    def sleep(self) -> simpy.Event:
        """Return what happens when the next request is brought."""
        self.asleep = self.clock.event()
        return self.asleep


def disaggregated_loop(
    arrival_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    *,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    prefill_replicas: int,
    decode_replicas: int,
    hand_over_s_per_token: float,
) -> tuple[float, int]:
    """Compute prompts on one pool, decode on the other, both in turn; return the last event's time, iterations."""
    clock = simpy.Environment()
    decoders = [Served(clock) for _ in range(decode_replicas)]
    iterations: list[int] = []
    handed = 0

    def prefill(mine: Sequence[int]) -> Generator[simpy.Event, Any, None]:
        nonlocal handed
        n, following, left, iteration = len(mine), 0, 0, 0
        waiting: deque[int] = deque()
        while True:
            now = clock.now
            while following < n and arrival_s[mine[following]] <= now:
                waiting.append(mine[following])
                following += 1
            if not waiting:
                if following == n:
                    iterations.append(iteration)
                    return
                yield clock.timeout(arrival_s[mine[following]] - now)
                continue
            budget, completed = max_num_batched_tokens, []
            while budget and waiting:
                left = left or prompt_tokens[waiting[0]]
                chunk = left if left <= budget else budget
                left -= chunk
                budget -= chunk
                if not left:
                    completed.append(waiting.popleft())
            yield clock.timeout(step_s(max_num_batched_tokens - budget, 0, 0))
            iteration += 1
            for request in completed:
                if output_tokens[request] > 1:
                    there = clock.timeout(prompt_tokens[request] * hand_over_s_per_token)
                    assert there.callbacks is not None
                    there.callbacks.append(partial(decoders[handed % decode_replicas].take, request))
                    handed += 1

    def decode(replica: Served) -> Generator[simpy.Event, Any, None]:
        finishing: dict[int, list[int]] = {}
        waiting, decoding, context, iteration = replica.waiting, 0, 0, 0
        while True:
            while waiting and decoding < max_num_seqs:
                request = waiting.popleft()
                decoding += 1
                context += prompt_tokens[request]
                finishing.setdefault(iteration + output_tokens[request] - 1, []).append(request)
            if not decoding:
                replica.iterations = iteration
                yield replica.sleep()
                continue
            yield clock.timeout(step_s(0, decoding, context + decoding))
            iteration += 1
            context += decoding
            done = finishing.pop(iteration, None)
            if done:
                decoding -= len(done)
                for request in done:
                    context -= prompt_tokens[request] + output_tokens[request] - 1

    requests = range(len(arrival_s))
    for first in range(prefill_replicas):
        clock.process(prefill(requests[first::prefill_replicas]))
    for replica in decoders:
        clock.process(decode(replica))
    clock.run()
    return clock.now, sum(iterations) + sum(each.iterations for each in decoders)


def least_loaded_loop(
    arrival_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    *,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    replicas: int,
) -> tuple[float, int]:
    """Serve each request on the replica with the fewest outstanding tokens; return as ``reference_loop`` does."""
    clock = simpy.Environment()
    servers = [Served(clock) for _ in range(replicas)]
    loads = [0] * replicas

    def arrive() -> Generator[simpy.Event, Any, None]:
        for request, at_s in enumerate(arrival_s):
            if at_s > clock.now:
                yield clock.timeout(at_s - clock.now)
            least = loads.index(min(loads))
            loads[least] += prompt_tokens[request] + output_tokens[request] - 1
            servers[least].take(request)

    clock.process(arrive())
    limits = max_num_seqs, max_num_batched_tokens
    for place, replica in enumerate(servers):
        clock.process(
            serve(replica, place, loads, prompt_tokens, prompt_tokens, output_tokens, step_s, *limits)
        )
    clock.run()
    return clock.now, sum(each.iterations for each in servers)


def serve(
    replica: Served,
    place: int,
    loads: list[int],
    new_tokens: Sequence[int],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    ended: Callable[[int], None] | None = None,
) -> Generator[simpy.Event, Any, None]:
    """Serve what is brought to a replica, the ``place``-th, whose outstanding tokens are in ``loads``.

    Of each prompt ``new_tokens`` are computed, and all are attended to; ``ended`` is told of each end.
    """
    clock, waiting = replica.clock, replica.waiting
    finishing: dict[int, list[int]] = {}
    running = decoding = context = iteration = left = 0
    half = -1  # the one request whose prompt is half computed
    while True:
        if not running and not waiting:
            replica.iterations = iteration
            yield replica.sleep()
            continue
        budget = max_num_batched_tokens - decoding
        prefill = 0
        completed: list[int] = []
        while budget > 0:
            if half < 0:
                if not waiting or running >= max_num_seqs:
                    break
                half = waiting.popleft()
                left = new_tokens[half]
                running += 1
            chunk = left if left <= budget else budget
            left -= chunk
            budget -= chunk
            prefill += chunk
            if left:
                break
            completed.append(half)
            half = -1
        yield clock.timeout(step_s(prefill, decoding, context + decoding))
        iteration += 1
        context += decoding
        loads[place] -= prefill + decoding
        done = finishing.pop(iteration, None)
        if done:
            decoding -= len(done)
            running -= len(done)
            for request in done:
                context -= prompt_tokens[request] + output_tokens[request] - 1
                if ended is not None:
                    ended(request)
        for request in completed:
            more = output_tokens[request] - 1
            if more:
                decoding += 1
                context += prompt_tokens[request]
                finishing.setdefault(iteration + more, []).append(request)
            else:
                running -= 1
                if ended is not None:
                    ended(request)
