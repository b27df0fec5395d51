"""How policies that split the SMs start requests: prompts are begun whole, and computed layer by layer."""

from collections.abc import Sequence

from policies.scheduling._preemption import make_room
from simulator.policy import Job, Lanes, Ledger, Scheduler


class SplitScheduler(Scheduler):
    """What such policies have in common: whole prompts, step by step, first come first served."""

    def splits_sms(self) -> bool:
        """Always."""
        return True

    def splits_prompts(self) -> bool:
        """By layers, not by tokens."""
        return False

    def decides_each_step(self) -> bool:
        """Always: the SMs are split anew when decodes have ended."""
        return True

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, and no prompt under way, decodes have the whole GPU."""
        return 0


def lanes_of(step: Ledger) -> Lanes:
    """Return the sub-steps of an engine that has them."""
    if step.lanes is None:
        raise ValueError("the engine has one step at a time; expected one whose policy splits_sms()")
    return step.lanes


def decode(step: Ledger) -> None:
    """Schedule all decodes, those too whose KV has come; where blocks run out the latest request gives way."""
    make_room(step, "recompute", "latest")
    step.decode_all()
    while step.waiting and step.waiting[0].waits_with_kv:
        job = step.waiting[0]
        if not step.admit(job, job.remaining_tokens):
            break


def uncached(step: Ledger, job: Job) -> int:
    """Return the tokens of a waiting request that have to be computed."""
    return job.known_tokens - step.cached_tokens(job)


def begin(step: Ledger, jobs: Sequence[Job], most_tokens: int, keep_free: int) -> list[Job]:
    """Start these requests in their order until they have ``most_tokens`` or one does not fit; return those started.

    They hold the blocks of all their known tokens. ``keep_free`` blocks are left beside running requests.
    """
    begun: list[Job] = []
    if step.preempted:
        return begun
    left = min(most_tokens, step.token_budget)
    for job in jobs:
        if job.waits_with_kv:
            break
        tokens, blocks = uncached(step, job), step.blocks_to_admit(job, job.known_tokens)
        if (begun and tokens > left) or blocks + (keep_free if step.running else 0) > step.free_blocks:
            break
        if not step.admit(job, 0, job.known_tokens):
            break
        begun.append(job)
        left -= tokens
        if left <= 0:
            break
    return begun
