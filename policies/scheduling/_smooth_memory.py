"""Prompts are begun as far as KV blocks last, for the policy ``smooth``."""

from policies.scheduling._smooth_outputs import Outputs
from policies.scheduling._smooth_prompts import Prompts
from simulator.policy import Job, Ledger


def is_ample(step: Ledger, prompts: Prompts, outputs: Outputs, spare_blocks: float) -> bool:
    """Whether there surely are seats, and blocks for all prompts and for outputs as usual.

    ``spare_blocks`` are left for each request, which may also begin a block with its prompt, and one with a token.
    """
    each = spare_blocks + outputs.usual_tokens / step.block_size + 2
    needed = prompts.all_tokens / step.block_size + each * (len(step.running) + len(prompts.line))
    return (
        needed < step.free_blocks and step.seats > 0 and step.group.lockstep and step.limits.fixed_kv is None
    )


def compute(
    step: Ledger, prompts: Prompts, tokens: int, outputs: Outputs, spare_blocks: float, caution: float | None
) -> list[Job]:
    """Schedule so many tokens; return whose next token that brings.

    A prompt is begun only if all of it fits beside the rest of those begun before, with ``spare_blocks`` left for each
    running request, and with ``caution``, if not 0, as many as outputs may grow by. None: memory is ample.
    """
    brought: list[Job] = []
    seats = min(step.limits.max_num_seqs, step.limits.max_num_batched_tokens)
    owed = sum(_missing(job, step) for job in step.partial) if step.partial else 0
    for rest, waits, job in prompts.line:
        chunk = min(rest, tokens, step.token_budget)
        if chunk <= 0:
            break
        if waits:
            needed = 0.0
            if caution is not None:
                needed = step.blocks_to_admit(job, job.known_tokens) + owed + spare_blocks * len(step.running)
            if caution and step.running:
                most = outputs.usual_tokens * len(step.running) / step.block_size
                if needed + most > step.free_blocks:
                    needed += max(0.0, outputs.growth(step, caution))
            begun = len(step.running) < seats and needed <= step.free_blocks and step.admit(job, chunk)
            if not begun:
                spare_blocks, caution = step.total_blocks, caution or 0.0  # none overtakes it
                continue
            if chunk < rest:
                owed += _missing(job, step)
        elif not step.prefill(job, chunk):
            continue
        tokens -= chunk
        if chunk == rest:
            brought.append(job)
    return brought


def _missing(job: Job, step: Ledger) -> int:
    return step.blocks_for(job.known_tokens) - step.blocks_held(job)
