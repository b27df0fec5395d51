"""Steps that are not asked of a policy which admits all that waits, if it fits, beside jobs that all decode."""

from collections.abc import Sequence

from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import Job, JobState


def admit_all(engine: Engine) -> bool:
    """Plan a step in which all that run decode and all that wait start, each with all of its known tokens.

    False, and nothing is planned, where one that runs has more to compute, or was preempted just now, or there is no
    seat, block or token of the budget for all of that.
    """
    group, kv, waiting, shape = engine.group, engine.kv, engine.waiting, engine.shape
    if engine.partial or engine.preempted or not waiting:
        return False
    if engine.cache is not None or engine.limits.fixed_kv is not None:
        return False
    block_size, running, late = engine.block_size, engine.running, engine.late_cache is not None
    tokens_left, blocks_left = engine.token_budget - group.size, kv.free_blocks - engine.blocks_opening
    for job in waiting:
        known = job.prompt_tokens + job.generated
        tokens_left -= known - job.computed
        blocks_left -= max(0, -(-known // block_size) - job.blocks)
        if job.generated >= job.target_tokens:  # its last token is in flight
            return False
    seats = engine.limits.max_num_seqs - len(running)
    if tokens_left < 0 or blocks_left < 0 or len(waiting) > seats or not engine.decode_all():
        return False
    for job in waiting:
        known = job.prompt_tokens + job.generated
        tokens, blocks = known - job.computed, -(-known // block_size) - job.blocks
        if blocks > 0:
            kv.take(job, blocks)
        if late and not job.brought:
            engine.records.look_up(job.id, known, 0, job.preemptions > 0)
        shape.count(tokens, job.computed, tokens == 1 and job.decodes, 1)
        job.move(JobState.RUNNING)
        engine.chunks[job] = tokens
        running[job] = engine.partial[job] = None
        job.admission = engine.admissions
        engine.admissions += 1
    engine.token_budget = tokens_left
    waiting.clear()
    return True


def decode_with_arrivals(
    engine: Engine, start_s: float, spare_blocks: int
) -> tuple[float, float, Sequence[Job]]:
    """Run the step that a policy plans which admits all that wait, each with KV that came from elsewhere.

    Returns its start and its end, seconds, and the jobs it completes; ``start_s`` twice, and nothing was done, where
    there is no seat, block or token of the budget for one of them, or fewer than ``spare_blocks`` would be left.
    """
    group, kv, records, limits = engine.group, engine.kv, engine.records, engine.limits
    arriving = list(engine.waiting)
    if engine.cache is not None or limits.fixed_kv is not None:
        return start_s, start_s, NO_JOBS
    seqs, context_tokens = group.size + len(arriving), group.context_tokens()
    opening = blocks = engine.blocks_opening
    for job in arriving:
        if not job.brought or job.remaining_tokens != 1:
            return start_s, start_s, NO_JOBS
        context_tokens += job.computed + 1
        blocks += max(0, engine.blocks_for(job.computed + 1) - job.blocks)
    seats = limits.max_num_seqs - len(engine.running)
    if (
        len(arriving) > seats
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
        more = engine.blocks_for(job.computed + 1) - job.blocks
        if more > 0:
            kv.take(job, more)
        job.move(JobState.RUNNING)
        engine.running[job] = None
        job.admission = engine.admissions
        engine.admissions += 1
        records.chunks.extend((step, job.id, 1, job.computed))
        records.prompt_ends.extend((job.id, step))
        engine.outside_tokens -= job.known_tokens
        job.computed += 1
        job.generated += 1
        if job.completing:
            completing.append(job)
        else:
            group.join(job)
    records.runs.extend((step, 1, start_s, seqs, context_tokens, len(engine.running)))
    records.run_ends.append(end_s)
    records.run_blocks.append(engine.total_blocks - kv.free_blocks)
    engine.fruitless_steps = 0
    engine.step += 1
    return start_s, end_s, completing
