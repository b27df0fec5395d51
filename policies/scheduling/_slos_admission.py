"""Which requests are promised their SLOs, for ``slos_serve``: dynamic programming over first-token deadlines.

Time is counted in steps of the longest length that lets every promised request keep its TPOT. A request of TPOT
``τ`` decodes in one of ``floor(τ / step)`` steps. Chen et al., "SLOs-Serve", arXiv 2504.08784, section on admission.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Claim(NamedTuple):
    """What a request needs that has not got its first token."""

    steps: int  # whole steps until that is due
    tokens: int  # to compute before it
    every: int  # steps of which it then decodes in one,
    weight: float  # in the place of so many tokens of prompts
    blocks: int  # KV blocks that it holds to its end
    promised: bool  # already; it cannot be declined


class Capacity(NamedTuple):
    """What an engine has for them beside the promised requests that decode."""

    step_tokens: float  # tokens of prompts that a step of the longest length computes without decodes
    blocks: int  # KV blocks
    seats: int
    # of those that decode: steps until they have to, and of how many steps they decode in one; their weight
    decodes: Sequence[tuple[tuple[int, int], float]]
    holds: Callable[[int, int], bool]  # whether a step holds so many more decodes that fill so many blocks

    def decode_tokens(self, steps: int) -> float:
        """Return the most tokens of prompts in whose place those who decode are in so many steps."""
        return sum(
            weight * -(-(steps - first) // every) for (first, every), weight in self.decodes if steps > first
        )


class _Reached(NamedTuple):
    """A choice among the requests so far; of those with equal counts only the best are kept."""

    blocks: int
    surplus_tokens: float  # that the steps up to here compute beyond what was asked of them
    chosen: tuple[int, ...]


def most_kept(claims: Sequence[Claim], capacity: Capacity) -> tuple[int, ...] | None:
    """Return the largest choice of claims, by index, all of which can be kept; None if the promised ones cannot.

    The claims come in order of ``steps``. A state of the program is the last deadline and how many are chosen of each
    ``every``; of those in it only choices stay that no other beats in both blocks and surplus tokens. Up to its
    deadline a request is charged with its prompt, and with the decodes of a prompt that is done at once, so that to be
    early costs the others nothing; each has the largest weight of its ``every``. Of equally many the choice with the
    largest surplus wins.
    """
    kinds = sorted({each.every for each in claims})
    weights = [max(each.weight for each in claims if each.every == every) for every in kinds]
    none = (0,) * len(kinds)
    reached: dict[tuple[int, ...], list[_Reached]] = {none: [_Reached(0, 0, ())]}
    before, taken = 0, 0.0
    for index, claim in enumerate(claims):
        steps, taken_before = claim.steps, taken
        taken = capacity.decode_tokens(steps)
        more = (steps - before) * capacity.step_tokens - (taken - taken_before)
        at = kinds.index(claim.every)
        own = claim.tokens + weights[at] * -(-steps // claim.every)
        found: dict[tuple[int, ...], list[_Reached]] = {}
        for counts, choices in reached.items():
            gained = more - sum(
                count * weight * (-(-steps // every) + -before // every)
                for count, every, weight in zip(counts, kinds, weights, strict=True)
            )
            with_it = (*counts[:at], counts[at] + 1, *counts[at + 1 :])
            for blocks, surplus, chosen in choices:
                if not claim.promised:
                    found.setdefault(counts, []).append(_Reached(blocks, surplus + gained, chosen))
                took, left = blocks + claim.blocks, surplus + gained - own
                if (
                    left >= 0
                    and took <= capacity.blocks
                    and len(chosen) < capacity.seats
                    and capacity.holds(len(chosen) + 1, took)
                ):
                    found.setdefault(with_it, []).append(_Reached(took, left, (*chosen, index)))
        reached = {counts: _best(choices) for counts, choices in found.items()}
        before = steps
    ends = [choice for choices in reached.values() for choice in choices]
    return max(ends, key=lambda end: (len(end.chosen), end.surplus_tokens)).chosen if ends else None


def _best(choices: list[_Reached]) -> list[_Reached]:
    """Return the choices that no other beats: with fewer blocks or as many, and no less surplus."""
    kept: list[_Reached] = []
    for each in sorted(choices, key=lambda each: (each.blocks, -each.surplus_tokens, each.chosen)):
        if not kept or each.surplus_tokens > kept[-1].surplus_tokens:
            kept.append(each)
    return kept
