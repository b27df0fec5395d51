"""Trees of drafts: what a drafter proposes by beam search, how sure it is of each node, and which path is right.

A node is a guess of one token after the guesses on its path. With chance c the drafter's first guess is right at a
place; of what it misses there, the next guess is right in a share s, the one after it in a share s of the rest, and so
on. Width 1 is a chain.
"""

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.replica.job import Job
from simulator.replica.speculation import AnswerDraws

MOST_KEPT = 1 << 14  # trees that a drafter keeps: most steps meet one that was met before


class DraftTree:
    """The nodes that a beam search kept, the likeliest first; the first n of them are a tree for each n.

    Which of them are right only the engine finds out, when it verifies them.
    """

    __slots__ = ("children", "expected", "size", "unlikeness")

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


# Of the trees of all jobs that decode, in order of admission: how many nodes of each are verified
ChooseNodes = Callable[[Sequence[tuple[Job, DraftTree]]], Sequence[int]]


def likeliest_of(
    trees: Sequence[Sequence[float]], have: Sequence[int], in_order: Sequence[float], left: int
) -> list[int]:
    """Return how many nodes of each tree are chosen: those that it has, and ``left`` more, the likeliest of all.

    ``trees`` are the ``unlikeness`` of each; ``in_order`` is what they do not have yet, rising, and more than ``left``.
    Of equally likely ones those of the first trees are taken.
    """
    if left <= 0:
        return list(have)
    cut = in_order[left - 1]
    equals, found = left - bisect_left(in_order, cut), list[int]()
    for unlikeness, had in zip(trees, have, strict=True):
        below = bisect_left(unlikeness, cut, had)
        taken = min(bisect_right(unlikeness, cut, below) - below, equals)
        equals -= taken
        found.append(below + taken)
    return found


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

    __slots__ = ("_base", "_found", "_kept", "_later_guess", "_misses", "_places", "_width")

    def __init__(self, chances: Sequence[float], width: int, confidence: float, later_guess: float) -> None:
        """Propose trees as deep as there are ``chances``, for a drafter as ``Speculation`` has it."""
        self._width, self._later_guess = width, later_guess
        self._base = 2 * (width + 1)
        lows = [chance * (1.0 - confidence) for chance in chances]
        self._places = [(chance, low, low + confidence) for chance, low in zip(chances, lows, strict=True)]
        # What is missed by all guesses but the first, by them but the second, ..., the least first
        misses = accumulate([1.0] + [1.0 - later_guess] * (width - 1), operator.mul)
        self._misses = np.array([*misses][::-1])
        self._kept: dict[int, DraftTree] = {}
        self._found: dict[int, tuple[DraftTree, list[int]]] = {}

    def keys(self, answer: AnswerDraws, first: int, count: int) -> list[int]:
        """Return what ``propose`` takes for a tree after each of ``count`` tokens of an answer, from ``first`` on.

        Of right guesses the share ``high`` gets the high number, of wrong ones the share ``low``: what is right is as
        it is without a tree, and what the drafter says of it follows (Bayes' theorem).
        """
        # A digit for each place: how sure the drafter is, and which guess is right; ``digit`` is what it counts for
        digit, whole = 1, np.int64 if self._base ** len(self._places) < 1 << 63 else np.object_
        key: NDArray[Any] = np.zeros(count, whole)
        goes_on = np.ones(count, np.bool_)
        for place, (chance, low, high) in enumerate(self._places, first):
            draw, hint = answer.numbers[place : place + count], answer.hints[place : place + count]
            right = draw < chance
            key += digit * (hint < np.where(right, high, low)).astype(whole)
            rank = np.zeros(count, np.int64)
            if chance < 1:  # what follows a wrong first guess is uniform in (0, 1]
                rank = self._width - np.searchsorted(self._misses, (1.0 - draw) / (1.0 - chance))
                rank[right | ~goes_on] = 0
                key += 2 * digit * rank.astype(whole)
            goes_on &= rank < self._width
            digit *= self._base
        found: list[int] = key.tolist()
        return found

    def propose(self, key: int) -> tuple[DraftTree, list[int]]:
        """Return the tree, and its nodes on the right path: of the first n nodes, those up to n are accepted."""
        return self._found.get(key) or self._find(key)

    def _find(self, key: int) -> tuple[DraftTree, list[int]]:
        sure, ranks, bit, rest = 0, list[int](), 1, key
        for _ in self._places:
            rest, digit = divmod(rest, self._base)
            sure += bit * (digit & 1)
            ranks.append(digit >> 1)
            bit += bit
        tree = self._kept.get(sure)
        if tree is None:
            each = [(low, high)[sure >> place & 1] for place, (_, low, high) in enumerate(self._places)]
            tree = self._kept[sure] = beam(each, self._width, self._later_guess)
        path, node = list[int](), 0
        for rank in ranks:
            node = tree.children[node][rank] if rank < self._width else 0
            if not node:
                break
            path.append(node)
        if len(self._found) >= MOST_KEPT:
            self._found.clear()
            self._kept.clear()
        found = self._found[key] = tree, list(accumulate(path, max))
        return found
