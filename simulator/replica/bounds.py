"""How long a replica may be left alone: lower bounds of when the end of a step matters to others.

A bound is proved from what is in flight and from the tokens that the decoding jobs still owe; where nothing is
known of the steps to come, it is the end of the first step in flight.
"""

from collections import deque
from collections.abc import Sequence

from simulator.replica.engine import Engine
from simulator.replica.job import Job

# Of each step: when it ends, the jobs that it completes, whether jobs decode in it.
InFlight = deque[tuple[float, Sequence[Job], bool]]

# A sum of step times is rounded at each step, a product once: a bound by a product is so much lower.
ROUNDING = 1 - 1e-9


def effect_bound_s(engine: Engine, in_flight: InFlight, watched: bool, last_chunks: bool) -> float:
    """Return a lower bound of when a step's end reaches others, of an engine with steps in flight.

    ``watched``: each end of a request reaches others; ``last_chunks``: so does the last chunk of each prompt.
    """
    first_s: float = in_flight[0][0]
    if engine.transfers.requests or engine.transfers.detaching or last_chunks:
        return first_s
    if watched and (engine.pending or engine.waiting or engine.swapped):
        return first_s
    for end_s, completing, _ in in_flight:
        if completing:
            return end_s
    unknown_s = first_s if watched else in_flight[-1][0]
    if engine.waiting or engine.swapped or engine.pending or len(engine.running) != engine.group.size:
        return unknown_s
    return _next_completion_s(engine, in_flight[-1][0], 1, unknown_s, fits=watched)


def load_bound_s(engine: Engine, in_flight: InFlight) -> float:
    """Return until when outstanding tokens can only become more: until a planned step completes a job."""
    next_s: float = in_flight[0][0]
    decoding = engine.group.size + sum(len(completing) for _, completing, _ in in_flight)
    if engine.waiting or engine.pending or len(engine.running) != decoding:
        return next_s
    return _next_completion_s(engine, next_s, len(in_flight), next_s, fits=True)


def _next_completion_s(engine: Engine, from_s: float, planned: int, unknown_s: float, fits: bool) -> float:
    """Return ``from_s`` and the least that the steps take until one completes a job, less those ``planned``.

    ``fits``: or until KV blocks run out. Steps only become longer. ``unknown_s`` where nothing is known of them.
    """
    group = engine.group
    if not group.size or engine.decode_piece is None:
        return unknown_s
    steps = group.next_end() - group.tick
    if fits:
        steps = min(steps, engine.block_size * (engine.free_blocks // group.size))
    if steps <= planned:
        return unknown_s
    context_tokens = group.context_tokens()
    _, _, offset, slope = engine.decode_piece(group.size, context_tokens)
    return from_s + (steps - planned) * (offset + slope * context_tokens) * ROUNDING
