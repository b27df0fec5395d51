"""Which nodes of trees are verified: the likeliest of all, and as many as pay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.scheduling._draft_nodes import PER_REQUEST, StepTimes, likeliest, paying
from simulator.testing import new_job
from tests.unit.test_adaserve import TREE, TREES, Offering


@given(TREES, st.integers(0, 40), st.data())
def test_what_is_left_goes_to_the_likeliest_nodes(trees, left, data):
    nodes = [data.draw(st.integers(0, tree.size)) for tree in trees]
    offers = [(new_job(number), tree) for number, tree in enumerate(trees)]
    found = likeliest(offers, nodes, left)
    assert all(have <= more <= tree.size for have, more, tree in zip(nodes, found, trees, strict=True))
    rest = sum(tree.size for tree in trees) - sum(nodes)
    assert sum(found) - sum(nodes) == min(left, rest)
    taken = [
        -tree.unlikeness[at]
        for tree, have, to in zip(trees, nodes, found, strict=True)
        for at in range(have, to)
    ]
    left_out = [
        -tree.unlikeness[at] for tree, to in zip(trees, found, strict=True) for at in range(to, tree.size)
    ]
    assert min(taken, default=1.0) >= max(left_out, default=0.0)


@given(TREES, st.floats(0.001, 0.2), st.integers(1, 20))
def test_without_a_fixed_budget_a_step_gives_the_most_tokens_a_second(trees, each_s, count):
    """Of as many nodes as there are times for, none gives more."""
    unlikeness = sorted(each for tree in trees for each in tree.unlikeness)
    times_s = [1.0 + each_s * share * count for share in PER_REQUEST]
    nodes, step_s = paying(unlikeness, times_s, count)
    rates = []
    for share, time_s in zip(PER_REQUEST, times_s, strict=True):
        some = min(int(share * count), len(unlikeness))
        rates.append((count - sum(unlikeness[:some])) / time_s)
    assert (count - sum(unlikeness[:nodes])) / step_s == pytest.approx(max(rates))


def test_steps_that_are_about_alike_are_priced_once():
    jobs = [new_job(number) for number in range(8)]
    ledger, times, asked = Offering(jobs, [TREE] * 8, 1000), StepTimes(), []
    ledger.price = lambda shape: asked.append(shape) or 0.1 + 0.001 * shape.draft_tokens
    found = times.of(ledger, 2, 2, 100)
    assert found == pytest.approx([0.1 + 0.001 * int(8 * share) for share in PER_REQUEST if share <= 4])
    first = len(asked)
    assert times.of(ledger, 2, 2, 200) is found
    assert len(asked) == first
    assert times.of(ledger, 2, 2, 300) is not found
    assert asked[-1].prefill_tokens == 512
    assert (asked[-1].draft_passes, asked[-1].draft_width) == (2, 2)
