"""From requests with bounds in seconds to claims in steps and tokens, for the policy ``slos_serve``."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from policies.scheduling._slos_admission import Capacity, Claim, most_kept
from policies.scheduling._slos_weights import weights_of
from simulator.policy import Job, Ledger, StepShape

FAR_S = 1e12  # stands for no bound
MOST_STEPS = 1_000_000  # that a deadline is away, or of which a request decodes in one
MARGIN = 1e-3  # share of a step that is not counted on: tokens are whole, and times rounded


class Setting(NamedTuple):
    """What bounds mean for a request at a plan."""

    due_s: float  # when its next token is due
    tpot_s: float
    promised: bool  # already


def choice(
    step: Ledger, settings: Mapping[Job, Setting], at_s: float, step_s: float
) -> tuple[float, list[Job]]:
    """Return the longest step and which new requests a step that starts then would promise their bounds.

    ``step_s`` is the longest step so far. Each one that the bounds suggest is tried; the largest choice wins, of equal
    ones the longer step. A request with neither bound is promised nothing.
    """
    new = [
        job for job, each in settings.items() if not each.promised and min(each.due_s, each.tpot_s) < FAR_S
    ]
    if not new:
        return step_s, []
    kept = [job for job, each in settings.items() if each.promised]
    budget = step.limits.max_num_batched_tokens
    full = StepShape()
    full.count(budget, 0, False, 1)
    most_s = min([step.price(full), *(settings[job].tpot_s for job in kept)])
    tried = {step_s, most_s, min(settings[job].due_s for job in new) - at_s}
    tried |= {settings[job].tpot_s for job in new}
    best: tuple[int, float, list[Job]] = (0, step_s, [])
    for longest_s in sorted({min(each, most_s) for each in tried if each > 0}):
        eligible = [job for job in new if settings[job].tpot_s >= longest_s]
        if not eligible:
            continue
        chosen = _within(step, {job: settings[job] for job in [*kept, *eligible]}, at_s, longest_s)
        if chosen and len(chosen) >= best[0]:
            best = len(chosen), longest_s, chosen
    return best[1:]


def _within(step: Ledger, settings: Mapping[Job, Setting], at_s: float, longest_s: float) -> list[Job]:
    """Return which new requests would be promised their bounds with steps of that length."""
    held_s, budget = (1 - MARGIN) * longest_s, step.limits.max_num_batched_tokens
    own = {job: each for job, each in settings.items() if each.promised and decoding(step, job)}
    asking = {job: each for job, each in settings.items() if job not in own}
    steps = {job: steps_of(each.due_s - at_s, longest_s) for job, each in settings.items()}
    every = {job: max(1, steps_of(each.tpot_s * (1 + 1e-9), longest_s)) for job, each in settings.items()}
    most = max(steps[job] for job in asking)
    contexts = {job: min(_tokens(job), job.known_tokens + most) for job in settings}
    longest = max(job.known_tokens for job in asking)
    room, weights = weights_of(step, contexts, longest, held_s)
    own_blocks = sum(_blocks(step, job) for job in own)

    @cache
    def holds(count: int, blocks: int) -> bool:
        tokens = (own_blocks + blocks) * step.block_size
        alone = StepShape(decode_seqs=len(own) + count, decode_context_tokens=tokens)
        return len(own) + count <= budget and step.price(alone) <= held_s

    turns: dict[tuple[int, int], float] = defaultdict(float)
    for job in own:
        turns[max(0, steps[job] - 1), every[job]] += weights[job]
    leaving = [
        job for job in step.running if job.completing
    ]  # who have their seats and blocks for another step
    seats = step.limits.max_num_seqs - len(own) - len(leaving)
    blocks = step.total_blocks - own_blocks - sum(map(step.blocks_held, leaving))
    capacity = Capacity(room, blocks, seats, list(turns.items()), holds)
    asked = [
        (
            Claim(
                steps[job], job.remaining_tokens, every[job], weights[job], _blocks(step, job), each.promised
            ),
            job,
        )
        for job, each in asking.items()
    ]
    asked.sort(key=lambda each: (each[0].steps, each[1].id))
    claims = [claim for claim, _ in asked]
    chosen = most_kept([each._replace(promised=True) for each in claims], capacity)
    if chosen is None:  # not all of them
        chosen = most_kept(claims, capacity) or ()
    return [asked[index][1] for index in chosen if not claims[index].promised]


def decoding(step: Ledger, job: Job) -> bool:
    """Whether a request runs, and goes on with a token a step."""
    return job.decodes and job in step.running and not job.completing


def steps_of(time_s: float, longest_s: float) -> int:
    """Return how many whole steps of that length lie within a time."""
    return int(min(max(0.0, time_s / longest_s), MOST_STEPS))


def _tokens(job: Job) -> int:
    """Return how long a request becomes, as far as can be told."""
    more = job.predicted_tokens if job.generated_tokens < job.predicted_tokens else job.max_tokens
    return job.prompt_tokens + more


def _blocks(step: Ledger, job: Job) -> int:
    """Return the KV blocks that a request holds in the end."""
    fixed = job.fixed_blocks if job in step.running else step.blocks_to_admit(job, 0)
    return step.blocks_for(_tokens(job)) + fixed
