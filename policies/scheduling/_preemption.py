"""Who gives up its KV blocks when they run out, how they come back, and how requests start and go on.

Requests that are started here hold the blocks of their whole prompt, so only decodes can run short.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Literal

from simulator.policy import Job, Ledger, StepShape

Mechanism = Literal["recompute", "swap", "cheapest"]
VictimRule = Literal["latest", "priority", "most_slack", "least_progress"]

# The largest gives way; among equals the one that arrived last, so that some request always gets ahead.
_RULES: dict[VictimRule, Callable[[Job], Any]] = {
    "latest": lambda job: 0,
    "priority": lambda job: job.priority,
    "most_slack": lambda job: job.due_s,  # all slacks are counted from the same instant
    "least_progress": lambda job: -job.computed_tokens,
}


def choose_victim(running: Iterable[Job], rule: VictimRule) -> Job:
    """Return who gives way first."""
    key = _RULES[rule]
    return max(running, key=lambda job: (key(job), job.arrival_s, job.id))


def make_room(step: Ledger, mechanism: Mechanism, rule: VictimRule) -> None:
    """Before ``decode_all``: have requests give way until there is a block for each that opens one.

    Requests that came from other replicas may also exceed the token budget.
    """
    while step.blocks_opening > step.free_blocks or step.group.size > step.token_budget:
        give_way(step, choose_victim(step.running, rule), mechanism)


def give_way(step: Ledger, job: Job, mechanism: Mechanism, for_job: Job | None = None) -> None:
    """Take all KV blocks of a running request; where host memory is full, it computes again.

    ``for_job`` is the request that the policy lets ahead, if it is not one that lacks blocks.
    """
    swaps = mechanism == "swap" or (mechanism == "cheapest" and swap_s(step, job) < recompute_s(step, job))
    # One that has outgrown the cache could never come back: preempting it ends it.
    fits = step.blocks_for(job.known_tokens) <= step.total_blocks
    if not (swaps and fits and step.swap_out(job, for_job)):
        step.preempt(job, for_job=for_job)


def recompute_s(step: Ledger, job: Job) -> float:
    """Return by how much computing a request's KV again would delay steps in which the others decode."""
    lost = job.computed_tokens
    seqs, context = _other_decodes(step, job)
    alone_s = step.price(StepShape(decode_seqs=seqs, decode_context_tokens=context))
    room = max(1, step.limits.max_num_batched_tokens - seqs)
    delay_s = 0.0
    for prior in range(0, lost, room):
        shape = StepShape(decode_seqs=seqs, decode_context_tokens=context)
        shape.count(min(room, lost - prior), prior, False, 1)
        delay_s += step.price(shape) - alone_s
    return delay_s


def swap_s(step: Ledger, job: Job) -> float:
    """Return by how much moving a request's blocks to the host and back would delay the same steps."""
    seqs, context = _other_decodes(step, job)
    alone_s = step.price(StepShape(decode_seqs=seqs, decode_context_tokens=context))
    blocks, delay_s = step.blocks_held(job), 0.0
    for out, back in ((blocks, 0), (0, blocks)):
        moved = StepShape(
            decode_seqs=seqs, decode_context_tokens=context, swap_out_blocks=out, swap_in_blocks=back
        )
        delay_s += step.price(moved) - alone_s
    return delay_s


def _other_decodes(step: Ledger, job: Job) -> tuple[int, int]:
    """How many others decode, and the sum of their contexts."""
    seqs, context = step.group.size, step.group.context_tokens()
    return (seqs, context) if job in step.partial else (seqs - 1, context - job.known_tokens)


def start(step: Ledger, job: Job, tokens: int, keep_free: int = 0) -> bool:
    """Admit a waiting request, or bring a swapped one back, with ``tokens`` tokens and all its blocks.

    Refuses where that does not fit; beside running requests, ``keep_free`` blocks have to be left.
    """
    swapped = job in step.swapped
    whole = step.blocks_for(job.known_tokens) if swapped else step.blocks_to_admit(job, job.known_tokens)
    if tokens < 1 or whole + (keep_free if step.running else 0) > step.free_blocks:
        return False
    if swapped:
        return step.swap_in(job, tokens)
    return step.admit(job, tokens, job.known_tokens)


def ongoing(step: Ledger) -> list[Job]:
    """Return the running requests whose prompts are half computed, in order of admission."""
    return sorted(step.partial, key=attrgetter("admission"))


def whole(step: Ledger, job: Job) -> int:
    """Return as many tokens of a request as the token budget holds."""
    return min(job.remaining_tokens, step.token_budget)


def go_on(step: Ledger, chunk: Callable[[Ledger, Job], int] = whole) -> None:
    """Compute ongoing prompts, ``chunk`` tokens of each."""
    for job in ongoing(step):
        tokens = chunk(step, job)
        if tokens:
            step.prefill(job, tokens)


def fill(step: Ledger, keep_free: int, chunk: Callable[[Ledger, Job], int] = whole) -> None:
    """Bring swapped requests back by arrival, then start waiting ones in their order, until one does not fit."""
    for job in sorted(step.swapped, key=lambda job: (job.arrival_s, job.id)):
        if not start(step, job, chunk(step, job), keep_free):
            return
    while step.waiting:
        job = step.waiting[0]
        if not start(step, job, chunk(step, job), keep_free):
            return


def fill_by_due(step: Ledger, keep_free: int) -> None:
    """Bring back or start requests, whose readers need their next tokens soonest first, until one does not fit."""
    for job in sorted((*step.swapped, *step.waiting), key=lambda job: (job.due_s, job.id)):
        if not start(step, job, whole(step, job), keep_free):
            return
