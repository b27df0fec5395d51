"""How many tokens of prompts a step holds, for the policy ``slos_serve``."""

from collections.abc import Callable, Mapping
from copy import copy

from simulator.policy import Job, Ledger, StepShape


def weights_of(
    step: Ledger, contexts: Mapping[Job, int], longest: int, held_s: float
) -> tuple[float, dict[Job, float]]:
    """Return how many tokens of prompts a step holds that lasts so long, and in the place of how many each decodes.

    What fits beside decodes is a concave function of how many they are and of their contexts, where a step's time is
    the larger of such sums. So it is taken to be a plane through what fits beside none, beside all of them with
    contexts of a token, and beside all of them. Prompts are as far on as the longest will be.
    """
    seqs, total = len(contexts), sum(contexts.values())

    def prompts(seqs: int, context: int) -> int:
        def fits(tokens: int) -> bool:
            shape = StepShape(decode_seqs=seqs, decode_context_tokens=context)
            if tokens:
                shape.count(tokens, max(0, longest - tokens), False, 1)
            return step.price(shape) <= held_s

        return most_that(fits, step.limits.max_num_batched_tokens - seqs)

    none, short, all_of_them = prompts(0, 0), prompts(seqs, seqs), prompts(seqs, total)
    each, a_token = (none - short) / seqs, (short - all_of_them) / max(1, total - seqs)
    rounded = int(each) == each and not a_token  # else a step holds a token less than the plane says
    return none - (not rounded), {job: each + a_token * (context - 1) for job, context in contexts.items()}


def most_that(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` that fits, as all smaller ones do; 0 if none does."""
    if most <= 0 or fits(most):
        return max(0, most)
    enough, too_many = 0, most
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        enough, too_many = (middle, too_many) if fits(middle) else (enough, middle)
    return enough


def tokens_within(step: Ledger, job: Job, longest_s: float) -> int:
    """Return how many tokens of a prompt a step of that length still holds; a KV block of them if nothing else."""
    shape, prior = copy(step.shape), job.computed_tokens

    def fits(tokens: int) -> bool:
        shape.count(tokens, prior, False, 1)
        lasts_s = step.price(shape)
        shape.count(tokens, prior, False, -1)
        return lasts_s <= longest_s

    most = min(job.remaining_tokens, step.token_budget)
    idle = not step.shape.prefill_seqs and not step.shape.decode_seqs
    return most_that(fits, most) or (min(most, step.block_size) if idle else 0)
