"""How many drafts the requests of each tier of TPOT get, for the policy ``slos_serve``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import ceil, log

from policies.scheduling._slos_choice import FAR_S
from simulator.policy import DraftTree, Job, Ledger, StepShape


def decode_with_drafts(
    step: Ledger, shape: StepShape, tpot_s: Callable[[Job], float], rate: float, longest_s: float
) -> bool:
    """Have all decodes of the group go on, with drafts where there is speculation; False if KV blocks lack.

    ``shape`` is all that the step is to hold, ``tpot_s`` the bound of a request. Drafts give way before a request does.
    """
    if not step.most_drafts:
        return step.decode_all()
    bounds_s = {job: tpot_s(job) for job in step.running if job.group is not None}
    tiers = Counter(bounds_s.values())
    lengths = by_tier(step, shape, tiers, rate, longest_s) if tiers else {}
    depth = max(lengths.values(), default=1) - 1

    def choose(offers: Sequence[tuple[Job, DraftTree]]) -> list[int]:
        return [min(lengths[bounds_s[job]] - 1, tree.size) for job, tree in offers]

    return bool(depth and step.decode_trees(depth, 1, choose)) or step.decode_trees(
        0, 1, lambda offers: [0] * len(offers)
    )


def by_tier(
    step: Ledger, shape: StepShape, tiers: Mapping[float, int], rate: float, longest_s: float
) -> dict[float, int]:
    """Return how many tokens a request of each tier verifies in a step that lasts so long at most, by its TPOT.

    Every length of the tightest tier is tried, the others follow from it; that with the most expected tokens a second
    is taken. A draft is right with the chance ``rate``.
    """
    most, tightest_s, left = step.most_drafts + 1, min(tiers), step.token_budget - sum(tiers.values())
    best: tuple[float, dict[float, int]] = (0.0, {})
    for length in range(1, most + 1):
        lengths = {bound_s: other_length(bound_s, tightest_s, length, rate) for bound_s in tiers}
        drafts = sum(count * (lengths[bound_s] - 1) for bound_s, count in tiers.items())
        shape.draft_tokens, shape.draft_passes, shape.draft_width = drafts, length - 1, 1
        lasts_s = step.price(shape)
        if length > 1 and (lasts_s > longest_s or drafts > left):
            break
        tokens = sum(count * expected_tokens(lengths[bound_s], rate) for bound_s, count in tiers.items())
        best = max(best, (tokens / max(lasts_s, 1e-12), lengths), key=lambda each: each[0])
    return best[1]


def expected_tokens(length: int, rate: float) -> float:
    """Return what verifying so many tokens gives, ``(1 − a^n)/(1 − a)`` (Leviathan et al., arXiv 2211.17192, Eq. 1)."""
    return (1 - rate**length) / (1 - rate)


def other_length(bound_s: float, tightest_s: float, length: int, rate: float) -> int:
    """Return how many tokens a slower tier verifies, for all tiers to use their TPOT up equally fast.

    The least n with ``E(n)·TPOT >= E(length)·tightest`` (Chen et al., arXiv 2504.08784, batches with speculation).
    """
    if bound_s >= FAR_S > tightest_s:
        return 1
    left = (bound_s - tightest_s + rate**length * tightest_s) / bound_s
    return min(max(ceil(log(left) / log(rate)), 1), length)
