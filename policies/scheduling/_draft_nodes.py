"""Which nodes of drafted trees a step verifies, and how many pay."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

from simulator.policy import DraftTree, Job, Ledger, StepShape, likeliest_of

Offers = Sequence[tuple[Job, DraftTree]]
# Nodes of a request on the average, of steps whose times are known
PER_REQUEST = (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96)
ROUNDED_TO = 256  # tokens of context and of prompts that are told apart
FEW = 32  # decodes that are told apart one by one, more by eights


def by_likeliness(offers: Offers) -> list[float]:
    """Return the nodes of all trees, the likeliest first, as less their chances."""
    found: list[float] = []
    for _, tree in offers:
        found += tree.unlikeness
    found.sort()
    return found


def likeliest(offers: Offers, nodes: Sequence[int], left: int, in_order: Sequence[float] = ()) -> list[int]:
    """Return nodes of each tree: those that it has, and ``left`` more, which are the likeliest of all trees.

    Of equally likely ones those of the first trees are taken. ``in_order`` is ``by_likeliness`` where none has any.
    """
    rest = in_order or sorted(
        each for (_, tree), have in zip(offers, nodes, strict=True) for each in tree.unlikeness[have:]
    )
    if len(rest) <= left:
        return [tree.size for _, tree in offers]
    return likeliest_of([tree.unlikeness for _, tree in offers], nodes, rest, left)


class StepTimes:
    """How long steps with drafts take, by how many nodes they verify; asked once for steps that are about alike."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[tuple[int, ...], list[float]] = {}

    def of(self, step: Ledger, depth: int, width: int, prompts: int) -> list[float]:
        """Return the seconds that this step's decodes take with ``PER_REQUEST`` nodes each, and so many prompt tokens.

        The search for nodes is in them, as deep and as wide.
        """
        count, context = step.group.size, step.group.context_tokens()
        seqs = count if count <= FEW else count + -count % 8
        each = context // count
        key = seqs, each + -each % ROUNDED_TO, prompts + -prompts % ROUNDED_TO, depth, width
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = []
            for share in PER_REQUEST:
                shape = StepShape(decode_seqs=seqs, decode_context_tokens=seqs * key[1])
                shape.draft_passes, shape.draft_width = depth, width
                shape.draft_tokens = int(share * seqs)
                if key[2]:
                    shape.count(key[2], 0, False, 1)
                found.append(step.price(shape))
                if share >= depth * width:
                    break
        return found


def paying(unlikeness: Sequence[float], times_s: Sequence[float], count: int) -> tuple[int, float]:
    """Return how many of the likeliest nodes bring the most tokens a second, and how long the step takes then.

    A step of ``count`` decodes gives a token of each and as many more as the nodes' chances sum up to.
    """
    gained = list(accumulate(unlikeness, initial=0.0))
    most, best, best_rate, best_s = len(unlikeness), 0, -1.0, 0.0
    for nodes, step_s in zip(_nodes_of(count), times_s, strict=False):
        if nodes > most:
            nodes = most
        rate = (count - gained[nodes]) / (step_s or 1e-9)
        if rate > best_rate:
            best, best_rate, best_s = nodes, rate, step_s
    return best, best_s


@cache
def _nodes_of(count: int) -> list[int]:
    return [int(share * count) for share in PER_REQUEST]
