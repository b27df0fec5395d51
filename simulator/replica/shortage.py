"""For whom a running request is preempted: which request lacks KV blocks, or was let ahead by the policy."""

from simulator.replica.engine_state import EngineState
from simulator.replica.job import Job

NO_REQUEST = -1  # of a preemption: none that the engine knows of
STUCK = -2  # no request could go on, because those that waited held the KV blocks


def cause(engine: EngineState, for_job: Job | None) -> tuple[int, int]:
    """Return the request that a running one gives way to, and the KV blocks that it lacks; 0: a choice of the policy.

    A policy that lets a request ahead says so with ``for_job``; if that one runs, it wants a block at least. Else the
    running requests are asked in order of admission what they want of this step, as far as its tokens go; the first
    that finds too few free blocks is the cause. So goes vLLM's scheduler through them, and the outcome is the same
    where blocks are asked for all at once.
    """
    if for_job is not None:
        runs = for_job in engine.running
        return for_job.id, max(1, _wanted(engine, for_job, engine.token_budget)[1]) if runs else 0
    free, budget = engine.kv.free_blocks, engine.token_budget
    for job in engine.running:
        if job.completing or job in engine.chunks or (job.group is not None and engine.ticks):
            continue
        tokens, blocks = _wanted(engine, job, budget)
        if blocks > free:
            return job.id, blocks
        free -= blocks
        budget -= tokens
    return NO_REQUEST, 0


def _wanted(engine: EngineState, job: Job, budget: int) -> tuple[int, int]:
    """Return how many tokens of a step a running job wants, and how many blocks more."""
    group = job.group
    if group is None:
        tokens = min(job.remaining_tokens, budget)
        return tokens, max(0, engine.blocks_for(job.computed + tokens) - job.blocks)
    opens = not job.reserved and (job.computed + group.tick - job.joined_tick) % engine.block_size == 0
    return 1, int(opens)
