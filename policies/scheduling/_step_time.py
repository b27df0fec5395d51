"""What a step's time goes to, for policies that say who is in it."""

from collections.abc import Callable, Collection
from copy import copy
from math import ceil, sqrt

from simulator.policy import Job, Ledger, StepShape


class Delayed:
    """How many requests it delays if something is computed again: those here, and those to come while others wait.

    These are taken to be as many as have started since the queue was last empty.
    """

    def __init__(self) -> None:
        """Begin with an empty queue."""
        self._calm = 0  # admissions when no request was left waiting

    def count(self, step: Ledger) -> int:
        """Return the number, before a step is planned."""
        last = step.last_running().admission if step.running else -1
        return len(step.running) + len(step.waiting) + max(0, last + 1 - self._calm)

    def planned(self, step: Ledger) -> None:
        """Look whether the queue is empty, when a step has been planned."""
        if not step.waiting and step.running:
            self._calm = max(self._calm, step.last_running().admission + 1)


def prompt_token_s(step: Ledger) -> float:
    """Return the time a prompt's token takes in a step that is full of them, seconds."""
    n = step.limits.max_num_batched_tokens
    full = StepShape()
    full.count(n, 0, False, 1)
    return step.price(full) / n


def decode_step_s(step: Ledger) -> float:
    """Return the time of a step in which all running jobs decode, seconds."""
    return step.price(StepShape(decode_seqs=max(1, len(step.running)), decode_context_tokens=_context(step)))


def full_step_s(step: Ledger, starting: Collection[Job]) -> float:
    """Return the time of a step with all decodes, and with prompts as far as the token budget goes, seconds."""
    decodes = len(step.running) - len(step.partial)
    prompts = sum(job.remaining_tokens for jobs in (step.partial, starting) for job in jobs)
    n = max(0, min(prompts, step.token_budget - decodes))
    shape = StepShape(decode_seqs=decodes, decode_context_tokens=step.group.context_tokens())
    if n:
        shape.count(n, 0, False, 1)
    return step.price(shape)


def longest_chunk(step: Ledger, job: Job, most: int, longest_s: float) -> int:
    """Return how many tokens of a prompt, at most ``most``, go into a step that is to take ``longest_s`` at most.

    The first chunk of a step has one KV block at least, so that prompts always go on.
    """

    def fits(tokens: int) -> bool:
        shape = copy(step.shape)
        shape.count(tokens, job.computed_tokens, False, 1)
        return step.price(shape) <= longest_s

    if fits(most):
        return most
    enough, too_many = 0, most
    while too_many - enough > 1:
        tokens = (enough + too_many) // 2
        if fits(tokens):
            enough = tokens
        else:
            too_many = tokens
    return enough if step.shape.prefill_seqs else max(enough, min(most, step.block_size))


def paying_batch(step: Ledger) -> int:
    """Return how many of the unfinished jobs a step serves so that their mean completion is soonest.

    A step of k decodes takes a + b·k. If N jobs of equal length are served k at a time, shortest first, they
    complete one batch after the other: on the average after N/2·(a/k + b) + (a + b·k)/2 a token, which is least at
    k = √(N·a/b). Up to N = a/b that is all of them: what holding one saves the others is less than its own share of a.
    """
    unfinished = len(step.running) + len(step.waiting) + len(step.swapped)
    seqs = max(2, len(step.running))
    context = max(seqs, _context(step)) // seqs
    one_s = step.price(StepShape(decode_seqs=1, decode_context_tokens=context))
    all_s = step.price(StepShape(decode_seqs=seqs, decode_context_tokens=context * seqs))
    each_s = (all_s - one_s) / (seqs - 1)
    if each_s <= 0:
        return unfinished
    return max(1, ceil(sqrt(unfinished * max(0.0, one_s - each_s) / each_s)))


def beyond_batch(
    stays: Callable[[Ledger, Job], bool],
    rank: Callable[[Job], float],
    step: Ledger,
    starting: list[Job],
    most: int,
) -> dict[Job, None]:
    """Return the running jobs whose ranks are too bad for a step of ``most``; take the others out of ``starting``.

    Those who stay are in it whatever their rank.
    """
    rivals = [job for job in step.running if not job.completing] + starting
    if len(rivals) <= most:
        return {}
    in_order = sorted(rivals, key=lambda job: (not stays(step, job), rank(job)))
    out = dict.fromkeys(in_order[most:])
    starting[:] = [job for job in starting if job not in out]
    return {job: None for job in out if job in step.running and not stays(step, job)}


def within_batch(
    rank: Callable[[Job], float], step: Ledger, job: Job, starting: list[Job], most: int
) -> bool:
    """Whether a job that does not run would be among the first ``most`` of those who run or start."""
    before = sum(not other.completing and rank(other) <= rank(job) for other in step.running)
    return before + len(starting) < most


def ahead_of_readers(
    step: Ledger, starting: list[Job], rank: Callable[[Job], float], margin_s: float
) -> dict[Job, None]:
    """Return the decodes that may sit this step out: their next tokens come soon enough in the step after it.

    ``rank`` is by when a job has to be served. None sits out unless time is scarce: prompts are computed, and a
    decode's token would be late at the end of a step with all of them. Nor does one that is due before all prompts,
    nor any while a job waits for a seat or KV blocks, which those who decode leave the sooner the less they sit out.
    A step that is planned while the one before runs begins when that ends.
    """
    prompts = [job for job in step.partial if not job.decodes] + starting
    waits = len(step.waiting) > len(starting)
    if not prompts or (waits and sum(job.remaining_tokens for job in starting) < step.token_budget):
        return {}
    full_s = full_step_s(step, starting)
    this_s = step.now_s + (1 + step.plans_ahead) * full_s  # when a step with all of them ends
    decodes = [(rank(job), job) for job in step.running if job.decodes and not job.completing]
    if min((due_s for due_s, _ in decodes), default=this_s) >= this_s:
        return {}
    soon_s = max(this_s + full_s + margin_s, min(rank(job) for job in prompts))
    return {job: None for due_s, job in decodes if due_s > soon_s}


def _context(step: Ledger) -> int:
    """Tokens that the next tokens of all running jobs attend to."""
    return step.group.context_tokens() + sum(job.known_tokens for job in step.partial)
