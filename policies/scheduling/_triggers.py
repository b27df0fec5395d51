"""When running requests give way though KV blocks are left: for the time between tokens, or for late readers.

Both rules are the plainest of their kind, and our own; no engine is known to have either.
"""

from policies.scheduling._preemption import Mechanism, VictimRule, choose_victim, give_way
from simulator.policy import Job, Ledger, StepShape


def shorten(step: Ledger, longest_s: float, mechanism: Mechanism, rule: VictimRule) -> None:
    """Before ``decode_all``: have decodes give way until a step of the others takes no more than ``longest_s``.

    One decode always stays. Where not even a step of one keeps the bound, giving way is no help, and none does.
    """
    seqs, context = step.group.size, step.group.context_tokens()
    if seqs < 2 or _decodes_s(step, seqs, context) <= longest_s:
        return
    if _decodes_s(step, 1, context // seqs) > longest_s:
        return
    while step.group.size > 1 and _decodes_s(step, step.group.size, step.group.context_tokens()) > longest_s:
        decodes = [job for job in step.running if job.group is not None]
        give_way(step, choose_victim(decodes, rule), mechanism)


def seat_the_late(step: Ledger, pause_s: float, mechanism: Mechanism, keep_free: int) -> None:
    """Have readers who are ahead make room for the one who waits, is late by d_i, and needs its token soonest.

    Who gives way has text for more than ``pause_s``, the furthest ahead first; none does unless they make room
    enough, ``keep_free`` blocks beside. Source of the deadlines: d_i = V·i, Wang et al., arXiv 2410.14257v2, Eq. 5.
    """
    late = min((*step.swapped, *step.waiting), key=lambda job: (job.due_s, job.id), default=None)
    if late is None or late.due_s > step.now_s:
        return
    known = late.known_tokens
    wanted = step.blocks_for(known) if late in step.swapped else step.blocks_to_admit(late, known)
    lacking, seats = wanted + step.blocks_opening + keep_free - step.free_blocks, 1 - step.seats
    victims: list[Job] = []
    ahead = [job for job in step.running if job.group is not None and job.due_s - step.now_s > pause_s]
    for job in sorted(ahead, key=lambda job: (-job.due_s, job.id)):
        if lacking <= 0 and seats <= 0:
            break
        victims.append(job)
        lacking -= step.blocks_held(job)
        seats -= 1
    if lacking <= 0 and seats <= 0:
        for job in victims:
            give_way(step, job, mechanism, late)


def fits_beside(step: Ledger, job: Job, longest_s: float) -> bool:
    """Whether a step in which a request decodes beside all who run takes no more than ``longest_s``."""
    context = step.group.context_tokens() + sum(other.known_tokens for other in step.partial)
    return _decodes_s(step, len(step.running) + 1, context + job.known_tokens) <= longest_s


def _decodes_s(step: Ledger, seqs: int, context_tokens: int) -> float:
    """How long a step of so many decodes takes, seconds."""
    return step.price(StepShape(decode_seqs=seqs, decode_context_tokens=context_tokens))
