"""Intervals, sequential tests and stopping rules: exact where they can be, else as often right as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from benchmarks import coverage, single_server
from simulator.report.comparison import over_seeds
from simulator.stats import (
    Looks,
    batch_means,
    batch_quantile,
    interval,
    order_quantile,
    paired,
    until_precise,
)
from simulator.studies.warmup import mser5

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=12)


def test_the_interval_is_students():
    found = interval([1.0, 2.0, 4.0, 5.0])
    half = student.ppf(0.975, 3) * np.std([1, 2, 4, 5], ddof=1) / 2
    assert (found.mean, found.half) == pytest.approx((3.0, half))
    assert interval([1.0, 2.0, 4.0, 5.0], 0.99).half > found.half
    assert interval([3.0]).half == math.inf


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 2.0]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="expected finite numbers"):
        interval(values)


def test_a_confidence_is_between_0_and_1():
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval([1.0, 2.0], 95)


@given(VALUES, st.floats(0.1, 10), st.floats(-100, 100))
def test_other_units_give_the_same_interval(values, scale, shift):
    found, other = interval(values), interval([scale * value + shift for value in values])
    assert other.mean == pytest.approx(scale * found.mean + shift, abs=1e-6)
    assert other.half == pytest.approx(scale * found.half, abs=1e-6)


def test_pairs_take_out_what_both_share():
    luck = np.random.default_rng(1).normal(0, 100, 8)
    assert paired((luck + 1.0).tolist(), luck.tolist()).above_zero
    assert not interval((luck + 1.0).tolist()).above_zero
    with pytest.raises(ValueError, match="zip"):
        paired([1.0, 2.0], [1.0])


def test_batches_leave_out_what_is_left_over_at_the_start():
    series = [99.0, 1.0, 3.0, 5.0, 7.0]
    assert batch_means(series, 2) == interval([2.0, 6.0])
    assert batch_quantile(series, 0.5, 2).mean == 4.0
    for batches in (1, 6):
        with pytest.raises(ValueError, match="batches"):
            batch_means(series, batches)


def test_nominal_95_percent_cover_a_known_truth_as_often():
    experiments = [coverage.experiment(number) for number in range(coverage.SIMULATED, 200)]
    for kind in experiments[0]:
        share = np.mean([found.holds(truth) for found, truth in (each[kind] for each in experiments)])
        assert coverage.COVERED[0] <= share <= coverage.COVERED[1], kind


def test_the_recursion_of_those_experiments_is_the_simulator():
    asked = 45.0, 3000, 7
    found, expected = single_server.waits(*asked), single_server.waits_by_recursion(*asked)
    assert np.abs(found - expected).max() < 1e-9
    assert expected.max() > 5 * single_server.SERVICE_S


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_the_quantile_of_theory_is_what_a_long_run_shows(load):
    wait_s = single_server.waits_by_recursion(load / single_server.SERVICE_S, 400_000, 5)
    for share in (0.8, 0.95):
        found = batch_quantile(wait_s[1000:], share, 20, 0.999)
        assert found.holds(single_server.wait_quantile_s(load, share))


def test_order_statistics_cover_a_quantile_at_least_as_often_as_stated():
    draw = np.random.default_rng(3)
    truth = -math.log(0.1)
    share = np.mean([order_quantile(draw.standard_exponential(80), 0.9).holds(truth) for _ in range(400)])
    assert 0.94 <= share <= 0.99
    few = order_quantile([1.0, 2.0, 3.0], 0.99)
    assert few.high == math.inf
    assert order_quantile(range(2001), 0.5).holds(1000)


def test_looks_are_wrong_about_a_mean_as_seldom_as_stated():
    draw, looks, wrong = np.random.default_rng(4), Looks((4, 6, 8, 12), 0.9), 0
    for _ in range(2000):
        values = draw.normal(-0.02, 1.0, 12).tolist()  # below the bound, by next to nothing
        sides = [looks.side(values[:count], 0.0) for count in looks.counts]
        wrong += next((side for side in sides if side), None) == "above"
    assert 0.02 < wrong / 2000 <= 0.1


@given(VALUES, st.floats(-1e3, 1e3))
def test_looks_see_a_mirrored_world_mirrored(values, bound):
    other = {"above": "below", "below": "above", None: None}
    assert Looks().side([-value for value in values], -bound) == other[Looks().side(values, bound)]


def test_looks_use_the_values_of_whole_looks_only():
    looks = Looks((4, 8))
    far = [10.0, 10.1, 9.9, 10.0]
    assert looks.side(far[:3], 0.0) is None
    assert looks.side(far, 0.0) == "above"
    assert looks.side([*far, -1e9], 0.0) == "above"  # the fifth belongs to a look that is not complete
    assert [looks.next_count(done) for done in (0, 4, 8)] == [4, 8, None]


def test_repetition_stops_when_it_is_precise_or_at_its_bound():
    draw = np.random.default_rng(5).normal(10.0, 2.0, 2000)
    values, reached = until_precise(lambda i: float(draw[i]), 0.05)
    found = interval(values)
    assert reached
    assert found.half <= 0.05 * abs(found.mean)
    assert 20 < len(values) < 200
    assert until_precise(lambda i: float(draw[i]), 0.0001, at_most=30) == (draw[:30].tolist(), False)


def test_warm_up_is_found():
    noise = np.random.default_rng(6).normal(0, 1.0, 1000)
    filling = noise + 20 * np.exp(-np.arange(1000) / 40)
    assert 50 <= mser5(filling) <= 250
    assert mser5(noise) <= 100
    assert mser5(np.ones(100)) == 0
    assert mser5(noise + np.arange(1000)) is None  # never settles
    assert mser5([1.0] * 19) is None


def test_compare_says_by_how_much_where_there_was_nothing_before():
    def of(value):
        window = {"duration_s": 9.0, "rule": "arrivals"}
        return {"slo": {"attainment_all": value}, "window": window, "states": {"arrived": 9}}

    runs = [[of(value) for value in values] for values in ([0, 0, 0], [0.5, 0.6, 0.7])]
    (row,) = [line for line in str(over_seeds(["a", "b"], runs)).splitlines() if line.startswith("SLO att")]
    assert "0.6000 [0.3516, 0.8484]" in row
    runs[1] = [of(value) for value in (-0.5, 0.6, 0.1)]
    assert "no difference shown" in str(over_seeds(["a", "b"], runs))
