"""From requests with bounds in seconds to claims in steps and tokens, for the policy ``slos_serve``."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from math import ceil
from typing import NamedTuple

from policies.scheduling._slos_admission import Capacity, Claim, most_kept
from policies.scheduling._slos_weights import weights_of
from simulator.policy import Job, Ledger, StepShape

FAR_S = 1e12  # stands for no bound
MOST_TIERS = 4  # of TPOT that are tried as the longest step
MOST_STEPS = 1_000_000  # that a deadline is away, or of which a request decodes in one
MARGIN = 1e-3  # share of a step that is not counted on: tokens are whole, and times rounded


class NextToken(NamedTuple):
    """What bounds mean for a request at a plan."""

    due_s: float  # when its next token is due
    tpot_s: float


NextTokens = Mapping[Job, NextToken]


def choice(
    step: Ledger, decodes: NextTokens, prompts: NextTokens, new: NextTokens, at_s: float, step_s: float
) -> tuple[float, list[Job]]:
    """Return the longest step and which new requests a step that starts then would promise their bounds.

    Beside those that were promised theirs, and decode or do not yet. ``step_s`` is the longest step so far. Each one
    that the bounds suggest is tried, of many tiers some; the largest choice wins, of equal ones the longer step.
    """
    if not new:
        return step_s, []
    full = StepShape()
    full.count(step.limits.max_num_batched_tokens, 0, False, 1)
    most_s = min(
        each.tpot_s for each in (*decodes.values(), *prompts.values(), NextToken(0.0, step.price(full)))
    )
    tiers = sorted({each.tpot_s for each in new.values()})
    gap_s, tier_s = min(each.due_s for each in new.values()) - at_s, min(most_s, tiers[0])
    tried = {step_s, most_s, gap_s / max(1, ceil(gap_s / tier_s))}  # a whole number until the first is due
    tried |= {*tiers[:: -(-len(tiers) // MOST_TIERS)]}
    best: tuple[int, float, list[Job]] = (0, step_s, [])
    for longest_s in sorted({min(each, most_s) for each in tried if each > 0}):
        eligible = {job: each for job, each in new.items() if each.tpot_s >= longest_s}
        chosen = _within(step, decodes, prompts, eligible, at_s, longest_s) if eligible else []
        if chosen and len(chosen) >= best[0]:
            best = len(chosen), longest_s, chosen
    return best[1:]


def _within(
    step: Ledger, decodes: NextTokens, prompts: NextTokens, new: NextTokens, at_s: float, longest_s: float
) -> list[Job]:
    """Return which new requests would be promised their bounds with steps of that length."""
    held_s, budget, seqs = (1 - MARGIN) * longest_s, step.limits.max_num_batched_tokens, len(decodes)
    settings = {**decodes, **prompts, **new}
    asking = [*prompts, *new]
    steps = {job: steps_of(each.due_s - at_s, longest_s) for job, each in settings.items()}
    every = {job: max(1, steps_of(each.tpot_s * (1 + 1e-9), longest_s)) for job, each in settings.items()}
    most = max(steps[job] for job in asking)
    contexts = {job: min(_tokens(job), job.known_tokens + most) for job in settings}
    room, weights = weights_of(step, contexts, max(job.known_tokens for job in asking), held_s)
    own_blocks = sum(_blocks(step, job) for job in decodes)

    @cache
    def holds(count: int, blocks: int) -> bool:
        tokens = (own_blocks + blocks) * step.block_size
        alone = StepShape(decode_seqs=seqs + count, decode_context_tokens=tokens)
        return seqs + count <= budget and step.price(alone) <= held_s

    turns: dict[tuple[int, int], float] = defaultdict(float)
    for job in decodes:
        turns[max(0, steps[job] - 1), every[job]] += weights[job]
    leaving = [job for job in step.running if job.completing]  # they have seats and blocks for another step
    blocks = step.total_blocks - own_blocks - sum(map(step.blocks_held, leaving))
    seats = step.limits.max_num_seqs - seqs - len(leaving)
    capacity = Capacity(room, blocks, seats, list(turns.items()), holds)
    in_order = sorted(asking, key=lambda job: (steps[job], job.id))
    claims = [
        Claim(steps[job], job.remaining_tokens, every[job], weights[job], _blocks(step, job), job in prompts)
        for job in in_order
    ]
    chosen = most_kept([each._replace(promised=True) for each in claims], capacity)
    if chosen is None:  # not all of them
        chosen = most_kept(claims, capacity) or ()
    return [in_order[index] for index in chosen if in_order[index] in new]


def steps_of(time_s: float, longest_s: float) -> int:
    """Return how many whole steps of that length lie within a time."""
    return int(min(max(0.0, time_s / longest_s), MOST_STEPS))


def _tokens(job: Job) -> int:
    """Return how long a request becomes, as far as can be told."""
    more = job.predicted_tokens if job.generated_tokens < job.predicted_tokens else job.max_tokens
    return job.prompt_tokens + more


def _blocks(step: Ledger, job: Job) -> int:
    """Return the KV blocks that a request holds in the end, those of drafts and of what the drafter keeps included."""
    fixed = job.fixed_blocks if job in step.running else step.blocks_to_admit(job, 0)
    return step.blocks_for(_tokens(job) + 2 * step.most_drafts) + fixed
