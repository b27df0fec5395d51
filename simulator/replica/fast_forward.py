"""Steps in which all running jobs decode need no plan: they are computed one after the other, or all at once."""

from collections.abc import Sequence
from functools import partial
from math import ceil, inf

import numpy as np

from simulator.replica.cost import DecodePiece
from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import Job

# Runs from so many steps on are computed at once; the longest bounds what that takes.
LONG_RUN, LONGEST_RUN = 80, 1024


def fast_forward(
    engine: Engine,
    start_s: float,
    until_s: float,
    spare_blocks: int,
    pipelined: bool,
    most_steps: int,
) -> tuple[float, float, Sequence[Job]]:
    """Run steps in which all running jobs decode, as far as they need no plan; ``most_steps`` at most.

    The first of them is planned now and starts at ``start_s``; the others are planned when the step before
    them ends (pipelined: when that starts) and before ``until_s``. Ends with the first step that completes
    a job, and before ``spare_blocks`` blocks would no longer be left. Does what planning each of these
    steps would do, to the last bit. Returns the start and the end of the last step, or ``start_s`` twice if
    there was none, and the jobs it completes.
    """
    group, records, piece = engine.group, engine.records, engine.decode_piece or partial(_priced, engine)
    size, first_tick, openers, block_size = group.size, group.tick, group.openers, group.block_size
    if engine.decode_piece is None:
        engine.open(start_s)  # otherwise nothing looks at what a plan begins with
    engine.now_s = start_s
    if size > engine.limits.max_num_batched_tokens:
        return start_s, start_s, NO_JOBS
    context_tokens = first_context = group.context_base + size * first_tick
    left, most_used = engine.kv.free_blocks - spare_blocks, engine.total_blocks - spare_blocks
    last_tick = min(group.next_end(), first_tick + most_steps)
    begun_s, end_s, tick = start_s, start_s, first_tick
    many = None
    if last_tick - first_tick >= LONG_RUN:
        many = _many(engine, start_s, until_s, left, pipelined, min(LONGEST_RUN, last_tick - first_tick))
    if many is not None:
        begun_s, end_s, steps, left = many
        tick += steps
    else:
        write_end, write_blocks = records.run_ends.append, records.run_blocks.append
        planned_s, high, offset, slope = -inf, 0.0, 0.0, 0.0
        while tick < last_tick:
            blocks = openers[tick % block_size]
            if blocks > left or planned_s >= until_s:
                break
            if context_tokens >= high:
                _, high, offset, slope = piece(size, context_tokens)
            begun_s = end_s
            end_s += offset + slope * context_tokens
            planned_s = begun_s if pipelined else end_s
            context_tokens += size
            left -= blocks
            write_end(end_s)
            write_blocks(most_used - left)
            tick += 1
    steps = tick - first_tick
    if not steps:
        return start_s, start_s, NO_JOBS
    taken = engine.kv.free_blocks - spare_blocks - left
    engine.kv.free_blocks = left + spare_blocks
    records.runs.extend((engine.step, steps, start_s, size, first_context, len(engine.running)))
    engine.fruitless_steps = 0
    engine.step += steps
    if engine.cache is not None:
        engine.cache.fast_forwarded(first_tick, steps, taken, size)
    group.tick = tick
    return begun_s, end_s, group.finished() if tick in group.last_ticks else NO_JOBS


def _many(
    engine: Engine, start_s: float, until_s: float, left: int, pipelined: bool, steps: int
) -> tuple[float, float, int, int] | None:
    """As ``fast_forward``, for many steps at once: they end at a running sum, whose terms lie on a line.

    ``steps`` are at most to run, and ``left`` blocks to be had. Returns the start and the end of the last step, how
    many there were and what is left. None where they turn out to be few, which is faster one by one.
    """
    piece = engine.decode_piece
    if piece is None or until_s <= start_s:
        return None
    group = engine.group
    size, tick = group.size, group.tick
    context_tokens = group.context_base + size * tick
    _, _, offset, slope = piece(size, context_tokens)
    first_s = offset + slope * context_tokens  # steps only become longer
    if until_s - start_s < first_s * steps:
        steps = min(steps, int((until_s - start_s) / first_s) + 2)
    if steps < LONG_RUN:
        return None
    nth = np.arange(steps)
    contexts = context_tokens + size * nth
    lasts_s = np.empty(steps)
    done = 0
    while done < steps:
        _, high, offset, slope = piece(size, context_tokens + size * done)
        stop = steps if high == inf else min(steps, max(done + 1, ceil((high - context_tokens) / size)))
        lasts_s[done:stop] = offset + slope * contexts[done:stop]
        done = stop
    lasts_s[0] += start_s
    ends = np.add.accumulate(lasts_s)
    # Planned before ``until_s`` are the first, and those before which a step ends (pipelined: starts) by then.
    planned = 1 + int(np.searchsorted(ends, until_s))
    if pipelined:
        planned += 1
    taken = np.add.accumulate(np.array(group.openers)[(tick + nth) % group.block_size])
    steps = min(steps, planned, int(np.searchsorted(taken, left, side="right")))
    if not steps:
        return None
    used = engine.total_blocks - engine.kv.free_blocks
    engine.records.run_ends += ends[:steps].tolist()
    engine.records.run_blocks += (used + taken[:steps]).tolist()
    begun_s = float(ends[steps - 2]) if steps > 1 else start_s
    return begun_s, float(ends[steps - 1]), steps, left - int(taken[steps - 1])


def _priced(engine: Engine, seqs: int, context_tokens: int) -> DecodePiece:
    """Return the price of a step of so many decodes as a piece that holds for this sum of contexts only."""
    engine.shape.decode_seqs, engine.shape.decode_context_tokens = seqs, context_tokens
    return context_tokens, context_tokens + 1, engine.price(engine.shape), 0.0
