"""Steps in which all running jobs decode need no plan: they are computed one after the other, or all at once."""

from collections.abc import Sequence
from functools import partial
from math import ceil, inf

import numpy as np

from simulator.replica.cost import DecodePiece
from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import Job
from simulator.replica.policy import Scheduler

# Runs from so many steps on are computed at once; the longest bounds what that takes.
LONG_RUN, LONGEST_RUN = 80, 1024


def fast_forward(
    engine: Engine,
    start_s: float,
    until_s: float,
    spare_blocks: int,
    pipelined: bool,
    before: Sequence[Job],
    goes_on: bool,
    told: Scheduler | None,
) -> tuple[float, float, Sequence[Job], Sequence[Job]]:
    """Run steps in which all running jobs decode, as far as they need no plan.

    The first of them is planned now and starts at ``start_s``; the others are planned when the step before
    them ends (pipelined: when that starts) and before ``until_s``. The step in flight, if any, completes the jobs
    ``before``: until it ends one step is planned. Ends with the first step that completes a job, unless it ``goes_on``
    past that, and before ``spare_blocks`` blocks would no longer be left. A policy that is ``told`` is asked again each
    time a step has completed a job, or has ended. Does what planning each of these steps would do, to the last bit.
    Returns the start and the end of the last step, or ``start_s`` twice if there was none, the jobs that the step
    before it completes, if that is in flight, and those that it completes.
    """
    group, records, kv, piece = engine.group, engine.records, engine.kv, engine.decode_piece
    if piece is None:
        engine.open(start_s)  # otherwise nothing looks at what a plan begins with
        piece = partial(_priced, engine)
    engine.now_s = begun_s = end_s = start_s
    if group.size > engine.limits.max_num_batched_tokens:
        return start_s, start_s, before, NO_JOBS
    openers, block_size = group.openers, group.block_size
    write_end, write_blocks = records.run_ends.append, records.run_blocks.append
    left, most_used = kv.free_blocks - spare_blocks, engine.total_blocks - spare_blocks
    while True:
        size, first_tick = group.size, group.tick
        context_tokens = first_context = group.context_base + size * first_tick
        last_tick = first_tick + 1 if before else group.next_end()
        first_s, first_left, tick, many = end_s, left, first_tick, None
        if last_tick - first_tick >= LONG_RUN:
            many = _many(engine, first_s, until_s, left, pipelined, last_tick - first_tick)
        if many is not None:
            begun_s, end_s, steps, left = many
            tick += steps
        else:
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
            return start_s, start_s, before, NO_JOBS
        kv.free_blocks = left + spare_blocks
        records.runs.extend((engine.step, steps, first_s, size, first_context, len(engine.running)))
        engine.fruitless_steps = 0
        engine.step += steps
        if engine.cache is not None:
            engine.cache.fast_forwarded(first_tick, steps, first_left - left, size)
        group.tick = tick
        completing = group.finished() if tick in group.last_ticks else NO_JOBS
        if told is not None:
            told.decoded(first_s, records.run_ends[-steps:], first_tick)
        # The next one is planned when these jobs, if any, have left
        leaving, ends_s = (before, begun_s) if pipelined else (completing, end_s)
        stops = tick < last_tick or ends_s >= until_s or not group.size or openers[tick % block_size] > left
        if stops or not goes_on:
            break
        if leaving:
            if min([job.generated - job.output_tokens for job in leaving]) < 0:  # one goes on elsewhere
                break
            engine.complete(leaving, ends_s)
            left = kv.free_blocks - spare_blocks
        engine.now_s, before = ends_s, completing if pipelined else NO_JOBS
        if told is not None and not told.goes_on_decoding(engine):
            return begun_s, end_s, NO_JOBS, before
        engine.now_s = end_s
    return begun_s, end_s, before, completing


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
    group, steps = engine.group, min(steps, LONGEST_RUN)
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
    engine.records.run_ends.frombytes(ends[:steps].tobytes())
    engine.records.run_blocks.frombytes((used + taken[:steps]).astype(np.intc).tobytes())
    begun_s = float(ends[steps - 2]) if steps > 1 else start_s
    return begun_s, float(ends[steps - 1]), steps, left - int(taken[steps - 1])


def _priced(engine: Engine, seqs: int, context_tokens: int) -> DecodePiece:
    """Return the price of a step of so many decodes as a piece that holds for this sum of contexts only."""
    engine.shape.decode_seqs, engine.shape.decode_context_tokens = seqs, context_tokens
    return context_tokens, context_tokens + 1, engine.price(engine.shape), 0.0
