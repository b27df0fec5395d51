"""A step in which all running jobs decode, also those whose last token is in flight: it needs no plan either."""

from collections.abc import Sequence

from simulator.replica.engine import NO_JOBS, Engine
from simulator.replica.job import Job
from simulator.replica.policy import Scheduler


def decode_beyond(
    engine: Engine, start_s: float, spare_blocks: int, beyond: Sequence[Job], told: Scheduler | None
) -> tuple[float, float, Sequence[Job]]:
    """Run a step as ``decode_all(beyond=True)`` plans it, for a token more of the jobs ``beyond`` their last ones.

    Returns its start and its end, seconds, and the jobs it completes; ``start_s`` twice, and nothing was done, where it
    would exceed the token budget or leave fewer than ``spare_blocks`` blocks. The policy may be ``told`` of it.
    """
    group, kv, shape, records = engine.group, engine.kv, engine.shape, engine.records
    seqs, too_many = group.size + len(beyond), 0
    context_tokens = group.context_tokens()
    for job in beyond:
        context_tokens += job.computed + 1
        too_many += job.computed % engine.block_size == 0
    blocks = engine.blocks_opening + too_many
    if seqs > engine.limits.max_num_batched_tokens or blocks > kv.free_blocks - spare_blocks:
        return start_s, start_s, NO_JOBS
    engine.open(start_s)
    shape.decode_seqs, shape.decode_context_tokens = seqs, context_tokens
    end_s = start_s + engine.price(shape)
    kv.free_blocks -= blocks
    engine.too_many_blocks = too_many
    used = engine.total_blocks - kv.free_blocks - blocks
    records.runs.extend((engine.step, 1, start_s, seqs, context_tokens, len(engine.running), used))
    records.run_ends.append(end_s)
    records.run_blocks.append(blocks)
    engine.fruitless_steps = 0
    engine.step += 1
    if engine.cache is not None:
        engine.cache.fast_forwarded(group.tick, 1, blocks, seqs)
    completing = engine.decoded() or NO_JOBS
    if told is not None:
        told.decoded(start_s, (end_s,), group.tick - 1)
    return start_s, end_s, completing
