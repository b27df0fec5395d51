"""The reference loop of clients that wait for their answers: sessions of several turns, each on one replica.

In the spirit of ``reference_loop``: one timeout an iteration, O(1) work a step, no KV blocks, no records, no policies.
Of each prompt only what is new is computed, as if all that came before it in its session were found.
"""

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from benchmarks.reference_loop import StepPrice
from benchmarks.reference_pools import Served, serve


def sessions_loop(
    session: Sequence[int],
    think_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    step_s: StepPrice,
    *,
    clients: int,
    send_gap_s: float,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    replicas: int,
) -> tuple[float, int]:
    """Serve sessions, so many at a time; return the time of the last event in seconds, and the iterations.

    Each column has one entry a request, a session's in order. A client sends the first turn of its next session when
    it has the answer to the last of the one before, and a later one ``think_s`` after the answer before it; they
    start ``send_gap_s`` apart. A session goes to the replica that had the fewest outstanding tokens when it began.
    """
    clock = simpy.Environment()
    servers = [Served(clock) for _ in range(replicas)]
    loads = [0] * replicas
    answered: dict[int, simpy.Event] = {}
    turns: dict[int, list[int]] = {}
    new_tokens: list[int] = []
    for request, (each, prompt) in enumerate(zip(session, prompt_tokens, strict=True)):
        before = turns.setdefault(each, [])
        old = prompt_tokens[before[-1]] + output_tokens[before[-1]] if before else 0
        new_tokens.append(max(1, prompt - old))
        before.append(request)
    to_come = iter(turns.values())

    def client(number: int) -> Generator[simpy.Event, Any, None]:
        yield clock.timeout(number * send_gap_s)
        for requests in to_come:
            home = loads.index(min(loads))
            for nth, request in enumerate(requests):
                if nth:
                    yield clock.timeout(think_s[request])
                loads[home] += new_tokens[request] + output_tokens[request] - 1
                answer = answered[request] = clock.event()
                servers[home].take(request)
                yield answer

    def ended(request: int) -> None:
        answered.pop(request).succeed()

    for number in range(clients):
        clock.process(client(number))
    limits = max_num_seqs, max_num_batched_tokens
    lengths = new_tokens, prompt_tokens, output_tokens
    for place, replica in enumerate(servers):
        clock.process(serve(replica, place, loads, *lengths, step_s, *limits, ended))
    clock.run()
    return clock.now, sum(each.iterations for each in servers)
