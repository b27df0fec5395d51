"""Steps in which all running jobs decode need no plan: they are computed one after the other, or all at once."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, repeat

from simulator.replica.beyond import ended_before, with_ended
from simulator.replica.cost import DecodePiece
from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import Job
from simulator.replica.long_runs import LONG_RUN, run_many
from simulator.replica.policy import Scheduler


def fast_forward(
    engine: Engine,
    start_s: float,
    until_s: float,
    spare_blocks: int,
    pipelined: bool,
    before: Sequence[Job],
    goes_on: bool,
    beyond: bool,
    told: Scheduler | None,
) -> tuple[float, float, Sequence[Job], Sequence[Job], bool]:
    """Run steps in which all running jobs decode, as far as they need no plan.

    The first of them is planned now and starts at ``start_s``; the others are planned when the step before
    them ends (pipelined: when that starts) and before ``until_s``. The step in flight, if any, completes the jobs
    ``before``: until it ends one step is planned. ``beyond``: the step after a job's last token computes one more of
    it, as ``decode_all(beyond=True)`` plans it. Ends with the first step that completes a job, unless it ``goes_on``
    past that, and before ``spare_blocks`` blocks would no longer be left. A policy that is ``told`` is asked again each
    time a step has completed a job (beyond: when the engine has seen that), or has ended. Does what planning each of
    these steps would do, to the last bit.

    Returns the start and the end of the last step, ``start_s`` if there was none, the jobs that the step before it
    completes, if that is in flight, those that it completes, and whether the next one is to be planned: then the step
    before has ended, and its jobs have left.
    """
    group, records, kv, cache = engine.group, engine.records, engine.kv, engine.cache
    piece = engine.decode_piece
    if piece is None:
        engine.open(start_s)  # otherwise nothing looks at what a plan begins with
        piece = partial(_priced, engine)
    engine.now_s = begun_s = end_s = start_s
    if group.size > engine.limits.max_num_batched_tokens:
        return start_s, start_s, NO_JOBS, before, True
    openers, block_size = group.openers, group.block_size
    priced, too_many, high, offset, slope = 0, 0, 0.0, 0.0, 0.0
    run_ends, write_end, run_blocks = records.run_ends, records.run_ends.append, records.run_blocks
    left, most_used = kv.free_blocks - spare_blocks, engine.total_blocks - spare_blocks
    while True:
        size, first_tick = group.size, group.tick
        first_context = group.context_base + size * first_tick
        first_s, first_left, turn = end_s, left, first_tick % block_size
        last_tick = end_tick = first_tick + 1 if before else group.next_end()
        if beyond:
            if before:
                size, first_context, too_many = with_ended(engine, before)
                if openers[turn] + too_many > left or size > engine.limits.max_num_batched_tokens:
                    return begun_s, end_s, NO_JOBS, before, True
            elif len(group.last_ticks[end_tick]) < size:
                last_tick += 1  # the step after the ends, as if they were none
        most, many, steps = last_tick - first_tick, None, 1
        if most == 1 and openers[turn] <= left:
            if size != priced or first_context >= high:
                priced, (_low, high, offset, slope) = size, piece(size, first_context)
            begun_s = end_s
            end_s += offset + slope * first_context
            write_end(end_s)
            opening = openers[turn] + too_many
            run_blocks.append(opening)
            left -= opening
        else:
            if size * (most // block_size + 1) > left:
                most = bisect_right(list(accumulate(_turns(openers, turn, most))), left)
            if most >= LONG_RUN:
                many = run_many(engine, first_s, until_s, pipelined, most)
            if many is not None:
                begun_s, end_s, steps = many
            else:
                # As floats, in which they are exact, they are multiplied and compared faster
                context_tokens, more_tokens, steps = float(first_context), float(size), len(run_ends)
                if size != priced:
                    priced, high = size, 0.0
                # Pipelined, one more is planned when the first step starts that ends too late
                one_more = pipelined and first_s < until_s
                for _ in repeat(None, most):
                    if context_tokens >= high:
                        _low, high, offset, slope = piece(size, int(context_tokens))
                    end_s += offset + slope * context_tokens
                    write_end(end_s)
                    if end_s >= until_s:
                        if not one_more:
                            break
                        one_more = False
                    context_tokens += more_tokens
                steps = len(run_ends) - steps
                begun_s = run_ends[-2] if steps > 1 else first_s
            if not steps:
                return begun_s, end_s, NO_JOBS, before, True
            end = turn + steps
            opened = openers[turn:end] if end <= block_size else _turns(openers, turn, steps)
            run_blocks.extend(opened)
            if steps > block_size:  # all of these in turn, more than once
                left -= steps // block_size * sum(openers)
                opened = opened[: steps % block_size]
            left -= sum(opened)
        tick = first_tick + steps
        kv.free_blocks = left + spare_blocks
        running, used = len(engine.running), most_used - first_left
        records.runs.extend((engine.step, steps, first_s, size, first_context, running, used))
        engine.fruitless_steps = 0
        engine.step += steps
        if cache is not None:
            cache.fast_forwarded(first_tick, steps, first_left - left, size)
        group.tick = tick
        if beyond and tick > end_tick:
            before, too_many = ended_before(group)
        completing = group.finished() if tick in group.last_ticks else NO_JOBS
        if told is not None:
            told.decoded(first_s, records.run_ends[-steps:], first_tick)
        # The next one is planned when these jobs, if any, have left
        leaving, ends_s = (before, begun_s) if pipelined else (completing, end_s)
        stops = tick < last_tick or ends_s >= until_s or not group.size or openers[tick % block_size] > left
        if stops or not goes_on or too_many:
            break
        if leaving or cache is not None:
            for job in leaving:
                if job.generated < job.output_tokens:  # it goes on elsewhere
                    return begun_s, end_s, before, completing, False
            if cache is not None:
                cache.step_ended(leaving)
            engine.complete(leaving, ends_s)
            left = kv.free_blocks - spare_blocks
        engine.now_s, before = ends_s, completing if pipelined else NO_JOBS
        if told is not None and not told.goes_on_decoding(engine):
            return begun_s, end_s, NO_JOBS, before, True
        engine.now_s = end_s
    if beyond:
        engine.too_many_blocks = too_many
    return begun_s, end_s, before, completing, False


def _turns(openers: "array[int]", turn: int, steps: int) -> "array[int]":
    """Return how many jobs open a block in each of so many steps, from a turn of a block's on."""
    end = turn + steps
    return (openers if end <= len(openers) else openers * (end // len(openers) + 1))[turn:end]


def _priced(engine: Engine, seqs: int, context_tokens: int) -> DecodePiece:
    """Return the price of a step of so many decodes as a piece that holds for this sum of contexts only."""
    engine.shape.decode_seqs, engine.shape.decode_context_tokens = seqs, context_tokens
    return context_tokens, context_tokens + 1, engine.price(engine.shape), 0.0
