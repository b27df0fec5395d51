"""Steps that are not asked of a policy which admits all that waits, if it fits, beside jobs that all decode."""

from collections.abc import Sequence

from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import RUNNING, Job


def start_all(engine: Engine) -> list[Job] | None:
    """Plan a step in which all that run decode and all that wait start, each with all of its known tokens.

    Returns the jobs that it completes, and leaves the engine as ``advance`` does, but for the count of steps. None, and
    nothing is planned, where one that runs has more to compute, or was preempted just now, or there is no seat, block
    or token of the budget for all of that.
    """
    group, kv, waiting, shape, limits = engine.group, engine.kv, engine.waiting, engine.shape, engine.limits
    if engine.partial or engine.preempted or not waiting:
        return None
    if engine.cache is not None or limits.fixed_kv is not None:
        return None
    block_size, running, size, tick = engine.block_size, engine.running, group.size, group.tick
    tokens_left, blocks_left = engine.token_budget - size, kv.free_blocks - group.openers[tick % block_size]
    for job in waiting:
        known = job.prompt_tokens + job.generated
        blocks = -(-known // block_size) - job.blocks
        tokens_left -= known - job.computed
        if blocks > 0:
            blocks_left -= blocks
        if job.generated >= job.target_tokens:  # its last token is in flight
            return None
    if tokens_left < 0 or blocks_left < 0 or len(waiting) > limits.max_num_seqs - len(running):
        return None
    completing: list[Job] = []
    if size:
        shape.decode_seqs, shape.decode_context_tokens = size, group.context_base + size * tick
        engine.ticks = True
        completing = engine.decoded() or completing
    records, late, step = engine.records, engine.late_cache is not None, engine.step
    for job in waiting:
        known, computed = job.prompt_tokens + job.generated, job.computed
        tokens, blocks = known - computed, -(-known // block_size) - job.blocks
        if blocks > 0:
            job.blocks += blocks
        if late and not job.brought:
            records.look_up(job.id, known, 0, job.preemptions > 0)
        shape.count(tokens, computed, tokens == 1 and job.decodes, 1)
        job.move(RUNNING)
        running[job] = None
        job.admission = engine.admissions
        engine.admissions += 1
        records.chunks.extend((step, job.id, tokens, computed))
        records.prompt_ends.extend((job.id, step))
        engine.outside_tokens -= known
        job.computed = known
        job.generated += 1
        if job.generated < job.target_tokens:
            group.join(job)
            continue
        if engine.withholds and job.generated < job.output_tokens:
            records.withheld.extend((job.id, step))
        completing.append(job)
    engine.token_budget, kv.free_blocks = tokens_left, blocks_left
    waiting.clear()
    return completing


def decode_with_arrivals(
    engine: Engine, start_s: float, spare_blocks: int
) -> tuple[float, float, Sequence[Job]]:
    """Run the step that a policy plans which admits all that wait, each with KV that came from elsewhere.

    Returns its start and its end, seconds, and the jobs it completes; ``start_s`` twice, and nothing was done, where
    there is no seat, block or token of the budget for one of them, or fewer than ``spare_blocks`` would be left.
    """
    group, kv, records, limits = engine.group, engine.kv, engine.records, engine.limits
    arriving, block_size = list(engine.waiting), engine.block_size
    if engine.cache is not None or limits.fixed_kv is not None:
        return start_s, start_s, NO_JOBS
    seqs, context_tokens = group.size + len(arriving), group.context_tokens()
    opening = blocks = engine.blocks_opening
    for job in arriving:
        known = job.computed + 1
        if not job.brought or job.prompt_tokens + job.generated != known:
            return start_s, start_s, NO_JOBS
        context_tokens += known
        if (more := -(-known // block_size) - job.blocks) > 0:
            blocks += more
    if (
        len(engine.running) + len(arriving) > limits.max_num_seqs
        or seqs > limits.max_num_batched_tokens
        or blocks > kv.free_blocks - spare_blocks
    ):
        return start_s, start_s, NO_JOBS
    assert engine.decode_piece is not None
    _, _, offset, slope = engine.decode_piece(seqs, context_tokens)
    end_s, step = start_s + (offset + slope * context_tokens), engine.step
    kv.free_blocks -= opening
    completing = engine.decoded() or []
    engine.waiting.clear()
    for job in arriving:
        known = job.computed + 1
        if (more := -(-known // block_size) - job.blocks) > 0:
            kv.take(job, more)
        job.move(RUNNING)
        engine.running[job] = None
        job.admission = engine.admissions
        engine.admissions += 1
        records.chunks.extend((step, job.id, 1, job.computed))
        records.prompt_ends.extend((job.id, step))
        engine.outside_tokens -= known
        job.computed = known
        job.generated += 1
        if job.generated >= job.target_tokens:
            completing.append(job)
        else:
            group.join(job)
    used = engine.total_blocks - kv.free_blocks - blocks
    records.runs.extend((step, 1, start_s, seqs, context_tokens, len(engine.running), used))
    records.run_ends.append(end_s)
    records.run_blocks.append(blocks)
    engine.fruitless_steps = 0
    engine.step += 1
    return start_s, end_s, completing
