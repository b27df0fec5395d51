"""The delivery policies: when tokens come, against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.delivery.batched import Batched
from policies.delivery.jitter import Jitter
from policies.delivery.paced import Paced
from simulator.scenario.discover import load

GAPS = st.lists(
    st.lists(st.one_of(st.just(0.001), st.floats(0.001, 0.5)), min_size=1, max_size=30),
    min_size=1,
    max_size=8,
)
ROWS = st.builds(
    lambda rows, first: [first * k + np.cumsum(row) for k, row in enumerate(rows)], GAPS, st.floats(-3, 1000)
).map(lambda rows: [row - min(0.0, row[0]) for row in rows])


def deliver(policy, rows, seed=0):
    """Deliver rows of times; return rows."""
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]]).astype(np.int64)
    generated_s = np.concatenate(rows)
    generated_s.flags.writeable = starts.flags.writeable = False
    times = policy.deliver(generated_s, starts, np.random.default_rng(seed))
    assert times.dtype == np.float64
    return np.split(times, starts[1:])


POLICIES = [
    Paced(0.05),
    Paced(0.2, 1.5),
    Jitter(0.1, 0.3),
    Jitter(0.0, 0.3, "lognormal", 2.0),
    Batched(1),
    Batched(4),
    load("delivery", "immediate")(),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: repr(each).split(" object")[0])
@given(rows=ROWS)
def test_no_token_is_delivered_before_it_is_there_or_out_of_turn(policy, rows):
    for row, delivered in zip(rows, deliver(policy, rows), strict=True):
        assert (delivered >= row).all()
        assert (np.diff(delivered) >= 0).all()


@given(ROWS, st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from([0.0, 0.1, 2.0]))
def test_paced_is_the_plain_loop(rows, gap_s, hold_s):
    for row, delivered in zip(rows, deliver(Paced(gap_s, hold_s), rows), strict=True):
        expected = [row[0] + hold_s]
        for time_s in row[1:]:
            expected.append(max(time_s, expected[-1] + gap_s))
        assert delivered[0] == expected[0]
        assert delivered == pytest.approx(np.array(expected), abs=1e-9)
        assert (np.diff(delivered) >= gap_s - 1e-9).all()


def test_holding_the_first_token_hides_a_later_stall():
    row = np.array([1.0, 1.1, 1.2, 2.0, 2.1])
    assert deliver(Paced(0.25, 0.0), [row])[0] == pytest.approx([1.0, 1.25, 1.5, 2.0, 2.25])
    assert deliver(Paced(0.25, 0.25), [row])[0] == pytest.approx([1.25, 1.5, 1.75, 2.0, 2.25])


@given(ROWS, st.sampled_from([0.0, 0.25]))
def test_jitter_of_zero_is_a_constant_shift(rows, delay_s):
    for distribution in ("exponential", "lognormal"):
        for row, delivered in zip(rows, deliver(Jitter(delay_s, 0.0, distribution), rows), strict=True):
            assert (delivered == row + delay_s).all()


@pytest.mark.parametrize("distribution", ["exponential", "lognormal"])
def test_jitter_has_the_mean_it_was_given(distribution):
    rows = [np.array([float(k)]) for k in range(40_000)]  # no token to wait for
    late_s = np.concatenate(deliver(Jitter(0.5, 0.1, distribution, 0.8), rows)) - np.arange(40_000)
    assert late_s.mean() == pytest.approx(0.6, rel=0.01)
    assert late_s.min() >= 0.5
    again = np.concatenate(deliver(Jitter(0.5, 0.1, distribution, 0.8), rows)) - np.arange(40_000)
    assert (late_s == again).all()


@given(ROWS, st.integers(0, 5))
def test_jitter_is_the_plain_loop(rows, seed):
    n = sum(map(len, rows))
    delays = iter(np.random.default_rng(seed).exponential(0.3, n).tolist())
    for row, delivered in zip(rows, deliver(Jitter(0.1, 0.3), rows, seed), strict=True):
        last_s, expected = -math.inf, []
        for time_s in row:
            last_s = max(last_s, time_s + (0.1 + next(delays)))
            expected.append(last_s)
        assert delivered.tolist() == expected


def test_batched_sends_the_first_token_at_once_and_the_rest_in_pieces():
    rows = [np.arange(1.0, 9.0), np.array([50.0]), np.arange(20.0, 24.0)]
    one, two, three = deliver(Batched(3), rows)
    assert one.tolist() == [1, 4, 4, 4, 7, 7, 7, 8]
    assert two.tolist() == [50]
    assert three.tolist() == [20, 23, 23, 23]
    assert [row.tolist() for row in deliver(Batched(1), rows)] == [row.tolist() for row in rows]


def test_a_run_without_tokens_is_delivered_too():
    none = np.zeros(0)
    for policy in POLICIES:
        assert len(policy.deliver(none, np.zeros(0, np.int64), np.random.default_rng(0))) == 0
