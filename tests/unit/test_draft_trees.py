"""Trees of drafts: what a beam search keeps, whether drafters are right as often as they say, what is accepted."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.acceptance.by_position import ByPosition
from policies.acceptance.curve import Curve
from policies.acceptance.match import Match
from policies.acceptance.none import NoneRight
from policies.acceptance.rate import Rate
from policies.acceptance.recorded import Recorded
from simulator.replica.draft_trees import TreeDrafter, beam
from simulator.replica.speculation import AnswerDraws

CHANCES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]), min_size=0, max_size=6)
ALL = [
    Rate(0.7),
    Rate(0.6, 0.2),
    Curve(),
    ByPosition([0.8, 0.5]),
    Match(0.5),
    NoneRight(),
    Recorded([3, 0, 2, 2]),
]


def paths(tree):
    """The guesses' ranks on the path of each node, from the root on, by node."""
    found = {0: ()}
    for node, children in enumerate(tree.children):
        found |= {child: (*found[node], rank) for rank, child in enumerate(children) if child}
    return found


def likeliness(path, sure, later):
    return math.prod(
        chance if not rank else (1 - chance) * later * (1 - later) ** (rank - 1)
        for rank, chance in zip(path, sure, strict=False)
    )


@given(CHANCES, st.integers(1, 4), st.sampled_from([0.0, 0.4, 1.0]))
def test_a_beam_keeps_the_likeliest_at_each_depth_and_each_beginning_is_a_tree(sure, width, later):
    tree = beam(sure, width, later)
    found = paths(tree)
    assert sorted(found) == list(range(tree.size + 1))  # each node has one parent, which comes before it
    assert all(child > node for node, children in enumerate(tree.children) for child in children if child)
    values = [likeliness(found[node], sure, later) for node in range(1, tree.size + 1)]
    assert values == pytest.approx([-each for each in tree.unlikeness])
    assert list(tree.unlikeness) == sorted(tree.unlikeness)
    assert tree.expected == pytest.approx(1 + np.cumsum([0, *values]))
    for depth in range(1, len(sure) + 1):
        kept = sorted(value for node, value in enumerate(values, 1) if len(found[node]) == depth)
        parents = [path for path in found.values() if len(path) == depth - 1]
        every = sorted(likeliness((*path, rank), sure, later) for path in parents for rank in range(width))
        some = [value for value in every if value > 0][-width:]
        assert kept == pytest.approx(some)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("width", [1, 3])
def test_a_node_is_right_as_often_as_the_drafter_says(confidence, width):
    """Of all nodes for which it says about the same, that share lies on the right path."""
    drafter, later = TreeDrafter([0.8, 0.6, 0.6, 0.5], width, confidence, 0.4), 0.4
    said, right = [], []
    for number in range(60):
        answer = AnswerDraws(5, number, 200)
        for generated in range(1, 190):
            tree, path = drafter.propose(drafter.keys(answer, generated, 1)[0])
            length = len(path)
            said.append(tree.expected[-1] - 1)
            right.append(length)
    said, right = np.array(said), np.array(right)
    assert right.mean() == pytest.approx(said.mean(), rel=0.03)
    for low, high in itertools.pairwise(np.quantile(said, [0, 0.25, 0.5, 0.75, 1.0])):
        some = (said >= low) & (said <= high)
        assert right[some].mean() == pytest.approx(said[some].mean(), abs=0.08)
    assert (np.std(said) > 0.1) == (confidence > 0)
    assert later


@pytest.mark.parametrize("acceptance", ALL[:5], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("confidence", [0.0, 0.7])
def test_a_chain_that_is_verified_whole_is_accepted_as_without_trees(acceptance, confidence):
    for number, generated in itertools.product(range(20), range(1, 60)):
        answer = AnswerDraws(3, number, 80)
        chances = tuple(acceptance.chances(answer, generated, 5))
        drafter = TreeDrafter(chances, 1, confidence, 0.4)
        _, path = drafter.propose(drafter.keys(answer, generated, 1)[0])
        drafts, right = acceptance.verify(answer, generated, 5)
        assert len(chances) == drafts
        assert len(path) == right


@pytest.mark.parametrize("acceptance", ALL, ids=lambda each: type(each).__name__)
def test_more_nodes_never_accept_less_and_wider_trees_accept_more(acceptance):
    means = []
    for width in (1, 3):
        lengths = []
        for number, generated in itertools.product(range(30), range(1, 60, 3)):
            answer = AnswerDraws(3, number, 80)
            drafter = TreeDrafter(tuple(acceptance.chances(answer, generated, 4)), width, 0.5, 0.4)
            tree, path = drafter.propose(drafter.keys(answer, generated, 1)[0])
            assert path == sorted(set(path))
            assert all(1 <= node <= tree.size for node in path)
            assert len(path) <= 4
            lengths.append(len(path))
        means.append(np.mean(lengths))
    assert means[1] > means[0] or isinstance(acceptance, NoneRight)


def test_recorded_chances_give_the_recorded_lengths():
    recorded = Recorded([3, 0, 2, 2])
    chances = recorded.chances(AnswerDraws(1, 0, 5), 1, 6)
    assert np.cumprod(chances) == pytest.approx([3 / 4, 3 / 4, 1 / 4, 0, 0, 0])
