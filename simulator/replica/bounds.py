"""How long a replica may be left alone: lower bounds of when the end of a step matters to others.

A bound is proved from what is in flight and from the tokens that the decoding jobs still owe; where nothing is
known of the steps to come, it is the end of the first step in flight.
"""

from collections import deque
from collections.abc import Sequence

from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.pipeline_engine import PipelineEngine

# Of each step: when it ends, the jobs that it completes, whether jobs decode in it.
InFlight = deque[tuple[float, Sequence[Job], bool]]

# A sum of step times is rounded at each step, a product once: a bound by a product is so much lower.
ROUNDING = 1 - 1e-9


def effect_bound_s(engine: Engine, in_flight: InFlight, watched: bool, chunks: bool) -> float:
    """Return a lower bound of when a step's end reaches others, of an engine with steps in flight.

    ``watched``: each end of a request reaches others; ``chunks``: so does each chunk of a prompt.
    """
    first_s: float = in_flight[0][0]
    if engine.transfers.requests or engine.transfers.detaching or chunks:
        return first_s
    if watched and (engine.pending or engine.waiting or engine.swapped):
        return first_s
    for end_s, completing, _ in in_flight:
        if completing:
            return end_s
    last_s: float = in_flight[-1][0]
    unknown_s = first_s if watched else last_s
    if isinstance(engine, PipelineEngine) and not engine.swapped:
        return max(unknown_s, engine.completion_bound_s([end_s for end_s, _, _ in in_flight], ROUNDING))
    if engine.swapped or not _all_decode(engine, in_flight):
        return unknown_s
    steps = _steps_to_completion(engine, fits=watched)
    return last_s + _decode_time_s(engine, steps - 1) if steps > 1 else unknown_s


def load_bound_s(engine: Engine, in_flight: InFlight) -> float:
    """Return until when outstanding tokens can only become more: until a planned step completes a job."""
    if not _all_decode(engine, in_flight):
        return in_flight[0][0]
    steps, known = _steps_to_completion(engine, fits=True), len(in_flight)
    if steps <= known:
        return in_flight[max(steps, 1) - 1][0]
    return in_flight[-1][0] + _decode_time_s(engine, steps - known)


def _all_decode(engine: Engine, in_flight: InFlight) -> bool:
    """Whether all jobs here decode, or are completed by a step in flight."""
    if engine.waiting or engine.pending:
        return False
    decoding = engine.group.size
    for _, completing, _ in in_flight:
        decoding += len(completing)
    return len(engine.running) == decoding


def _steps_to_completion(engine: Engine, fits: bool) -> int:
    """Return how many steps in which all jobs here decode complete the first of them, 0 where that is not known.

    ``fits``: or until KV blocks run out.
    """
    group = engine.group
    if not group.size or engine.decode_piece is None or engine.speculates:
        return 0
    steps = group.next_end() - group.tick
    return min(steps, engine.block_size * (engine.free_blocks // group.size)) if fits else steps


def _decode_time_s(engine: Engine, steps: int) -> float:
    """Return a lower bound of what so many steps take in which all jobs here decode and none leaves.

    As long as the sum of their contexts stays in one piece of the cost model it is what they take, but for rounding;
    beyond it steps only become longer.
    """
    group, piece = engine.group, engine.decode_piece
    assert piece is not None
    size, context_tokens = group.size, group.context_tokens()
    _, high, offset, slope = piece(size, context_tokens)
    exact = steps
    if context_tokens + size * steps >= high:
        exact = min(steps, max(1, int((high - context_tokens) // size)))
    last_tokens = context_tokens + size * (exact - 1)
    time_s = exact * (offset + slope * 0.5 * (context_tokens + last_tokens))
    return (time_s + (steps - exact) * (offset + slope * last_tokens)) * ROUNDING
