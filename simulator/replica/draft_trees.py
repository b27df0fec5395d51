"""Trees of drafts: what a drafter proposes by beam search, how sure it is of each node, and which path is right.

A node is a guess of one token after the guesses on its path. With chance c the drafter's first guess is right at a
place; of what it misses there, the next guess is right in a share s, the one after it in a share s of the rest, and so
on. Width 1 is a chain.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from simulator.replica.job import Job
from simulator.replica.speculation import AnswerDraws

MOST_KEPT = 1 << 14  # trees that a drafter keeps: most steps meet one that was met before


class DraftTree:
    """The nodes that a beam search kept, the likeliest first; the first n of them are a tree for each n.

    Which of them are right only the engine finds out, when it verifies them.
    """

    __slots__ = ("children", "expected", "first_later", "firsts", "size", "unlikeness")

    def __init__(
        self, unlikeness: Sequence[float], expected: Sequence[float], children: Sequence[Sequence[int]]
    ) -> None:
        """Take what ``beam`` has found."""
        # Less the chance that all of a node's path is right (AdaServe, arXiv 2501.12162, Eq. 7), so that they rise
        self.unlikeness = unlikeness
        # Tokens that a step gives on the average with the first n nodes, from 0: its own and Σ of the chances (Thm 3.1)
        self.expected = expected
        # Of the root and of each node: by rank of the guess, which node it is, from 1; 0: none
        self.children = children
        self.size = len(unlikeness)  # nodes, the root not counted
        # Of the root and of each node: the likeliest child that is no first guess; beyond the last node: none
        none = self.size + 1
        self.first_later = [min((each for each in ranks[1:] if each), default=none) for ranks in children]
        self.firsts: list[int] = []  # the nodes on the path of first guesses
        node = children[0][0]
        while node:
            self.firsts.append(node)
            node = children[node][0]


# Of the trees of all jobs that decode, in order of admission: how many nodes of each are verified
ChooseNodes = Callable[[Sequence[tuple[Job, DraftTree]]], Sequence[int]]


def beam(sure: Sequence[float], width: int, later_guess: float) -> DraftTree:
    """Return what a beam search of some width keeps, with the chance of the first guess at each place.

    ``later_guess`` is the share of what is missed that each further guess hits. Nodes without a chance are left out.
    """
    found: list[tuple[float, int, int]] = []  # less the chance, parent (0: the root), rank of the guess
    frontier = [(1.0, 0)]
    for chance in sure:
        guesses, missed = [chance], 1.0 - chance
        for _ in range(1, width):
            guesses.append(missed * later_guess)
            missed *= 1.0 - later_guess
        level = [
            (-likely * guess, parent, rank)
            for likely, parent in frontier
            for rank, guess in enumerate(guesses)
            if likely * guess > 0
        ]
        level.sort()
        del level[width:]
        frontier = [(-each[0], len(found) + place) for place, each in enumerate(level, 1)]
        found += level
    order = sorted(range(len(found)), key=lambda node: (found[node][0], node))  # a parent before its children
    place_of = {0: 0} | {node + 1: place for place, node in enumerate(order, 1)}
    children = [[0] * width for _ in range(len(found) + 1)]
    expected = [1.0]
    for place, node in enumerate(order, 1):
        less, parent, rank = found[node]
        children[place_of[parent]][rank] = place
        expected.append(expected[-1] - less)
    return DraftTree([found[node][0] for node in order], expected, children)


class TreeDrafter:
    """Proposes trees where the first guess at each place has a chance that is known; the same ones again and again.

    How sure the drafter is of a place has two values, ``(1 - confidence)·c`` and that and ``confidence``, and each is
    right on the average: of the guesses for which it says a number, that share is right.
    """

    __slots__ = ("_kept", "_later_guess", "_places", "_width")

    def __init__(self, chances: Sequence[float], width: int, confidence: float, later_guess: float) -> None:
        """Propose trees as deep as there are ``chances``, for a drafter as ``Speculation`` has it."""
        self._width, self._later_guess = width, later_guess
        lows = [chance * (1.0 - confidence) for chance in chances]
        self._places = [(chance, low, low + confidence) for chance, low in zip(chances, lows, strict=True)]
        self._kept: dict[int, DraftTree] = {}

    def propose(self, answer: AnswerDraws, generated: int) -> tuple[DraftTree, int]:
        """Return the tree after so many tokens of an answer, and how many first guesses in a row are right there.

        Of right guesses the share ``high`` gets the high number, of wrong ones the share ``low``: what is right is as
        it is without a tree, and what the drafter says of it follows (Bayes' theorem).
        """
        until, sure, bit, rights = generated + len(self._places), 0, 1, -1
        draws = answer.draws[generated:until]
        hints = (answer.hints or answer.draw_hints())[generated:until]
        for place, (chance, low, high) in enumerate(self._places):
            if draws[place] < chance:
                if hints[place] < high:
                    sure += bit
            else:
                if rights < 0:
                    rights = place
                if hints[place] < low:
                    sure += bit
            bit += bit
        tree = self._kept.get(sure)
        if tree is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            each = [(low, high)[sure >> place & 1] for place, (_, low, high) in enumerate(self._places)]
            tree = self._kept[sure] = beam(each, self._width, self._later_guess)
        return tree, len(self._places) if rights < 0 else rights

    def accepted(self, tree: DraftTree, nodes: int, rights: int, answer: AnswerDraws, generated: int) -> int:
        """Return the length of the right path within the first ``nodes`` nodes of a tree that was proposed."""
        firsts = tree.firsts
        length = bisect_right(firsts, nodes, 0, min(rights, len(firsts)))
        node = firsts[length - 1] if length else 0
        if length < rights or tree.first_later[node] > nodes:
            return length
        draws, children, places = answer.draws, tree.children, self._places
        while length < len(places):
            draw, chance, rank = draws[generated + length], places[length][0], 0
            if draw >= chance:  # the first guess is wrong; what follows is uniform in (0, 1]
                missed, beyond = (1.0 - draw) / (1.0 - chance), 1.0
                while rank < self._width and missed <= beyond:
                    rank += 1
                    beyond *= 1.0 - self._later_guess
                if rank == self._width:
                    break
            node = children[node][rank]
            if not 0 < node <= nodes:
                break
            length += 1
        return length
