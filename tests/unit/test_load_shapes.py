"""Loads that change over time: arrivals follow the rate exactly, and nothing else of the traffic changes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.workload.envelope import Envelope, Shape, product, steps
from tests.loads import POISSON, SAW, arrivals, make


def rate(t, points=((0, 1),), linear=False, period_s=None, spike=None, growth=None):
    """The load at a time, from its description alone: the oracle of this file."""
    growth_s = growth[1] if growth else 1
    factor = growth[0] ** math.floor(t / growth_s) if growth else 1.0
    if spike is not None:
        times, length_s, every_s = spike
        factor *= times if t % every_s >= every_s - length_s else 1
    t = t % period_s if period_s else t
    if t < points[0][0]:
        return factor * points[0][1]
    i = max(k for k, point in enumerate(points) if point[0] <= t)
    (t0, f0), (t1, f1) = points[i], points[i + 1] if i + 1 < len(points) else (math.inf, points[i][1])
    return factor * (f0 + (f1 - f0) * (t - t0) / (t1 - t0) if linear else f0)


def integral(from_s, to_s, **load):
    """By Simpson's rule on pieces of 1/4 s, exact for what changes only at multiples of it."""
    edges = np.linspace(from_s, to_s, round((to_s - from_s) * 4) + 1)
    inside = 1e-9  # a piece is that of its own side of a jump
    return sum(
        (b - a) / 6 * (rate(a + inside, **load) + 4 * rate((a + b) / 2, **load) + rate(b - inside, **load))
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    )


SAW_ORACLE = {"points": ((0, 1), (50, 5), (60, 0)), "period_s": 100}
CASES = {
    "steps": (SAW, SAW_ORACLE),
    "linear": ({**SAW, "load_interpolation": "linear"}, {**SAW_ORACLE, "linear": True}),
    "spikes": ({"spike_factor": 7.0, "spike_s": 10.0, "spike_every_s": 50.0}, {"spike": (7, 10, 50)}),
    "growth": ({"growth": 1.5, "growth_every_s": 60.0}, {"growth": (1.5, 60)}),
    "late start": ({"load_points": [[100.0, 2.0], [150.0, 0.5]]}, {"points": ((100, 2), (150, 0.5))}),
}
CASES["all"] = (
    {**CASES["linear"][0], **CASES["spikes"][0], **CASES["growth"][0]},
    {**CASES["linear"][1], **CASES["spikes"][1], **CASES["growth"][1]},
)


@pytest.mark.parametrize("case", CASES)
def test_counts_in_each_interval_are_poisson_with_the_integral_of_the_rate(case):
    keys, load = CASES[case]
    times = arrivals(rate_rps=200.0, duration_s=300.0, **keys)
    scale = 200.0 * 300 / integral(0, 300, **load)  # the mean over the duration is rate_rps
    expected = np.array([scale * integral(t, t + 10, **load) for t in range(0, 300, 10)])
    counts = np.histogram(times, np.arange(0, 310, 10))[0]
    assert expected.sum() == pytest.approx(60_000)
    assert not counts[expected == 0].any()
    # Each is within 5 standard deviations (30 intervals: by chance 2 in 100,000), and so is all their chi-square.
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected))
    some = expected > 0
    chi_square = ((counts - expected)[some] ** 2 / expected[some]).sum()
    assert abs(chi_square - some.sum()) < 5 * math.sqrt(2 * some.sum())
    assert np.all(np.diff(times) >= 0)
    assert np.array_equal(times, arrivals(rate_rps=200.0, duration_s=300.0, **keys))
    assert not np.array_equal(times, arrivals(1, rate_rps=200.0, duration_s=300.0, **keys))


@pytest.mark.parametrize("case", CASES)
def test_the_time_change_is_exact(case):
    """Constant arrivals come where the integral of the rate is 1, 2, 3, ..."""
    keys, load = CASES[case]
    times = arrivals(arrivals="constant", rate_rps=0.5, duration_s=300.0, **keys)
    assert len(times) in (149, 150)
    scale = 150 / integral(0, 300, **load)
    for k in (1, 2, 40, 75, 100, 148):
        t = float(times[k - 1])
        whole = math.floor(t * 4) / 4
        reached = integral(0, whole, **load) if whole else 0.0
        rest = (t - whole) * (rate(whole + 1e-9, **load) + rate(max(t - 1e-9, whole), **load)) / 2
        assert scale * (reached + rest) == pytest.approx(k, rel=1e-6)


@st.composite
def shapes(draw):
    n = draw(st.integers(1, 6))
    gaps = draw(st.lists(st.floats(0.01, 50), min_size=n, max_size=n))
    factors = draw(st.lists(st.just(0.0) | st.floats(0.01, 100), min_size=n, max_size=n))
    last = sum(gaps)
    period = draw(st.none() | st.floats(last * 1.01, last * 3))
    return Shape(np.cumsum(gaps) - gaps[0], np.array(factors), draw(st.booleans()), period)


@given(shapes(), st.floats(1, 500), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_the_inverse_takes_the_integral_back(shape, until_s, n):
    envelope = shape.until(until_s)
    reached = envelope.expected()
    if reached[-1] <= 0:
        return
    units = np.linspace(0, reached[-1], n + 1)[1:]
    times = envelope.times_of(units)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert times[-1] <= until_s * (1 + 1e-9)
    i = np.clip(np.searchsorted(envelope.edges_s, times, side="right") - 1, 0, len(envelope.first) - 1)
    since = times - envelope.edges_s[i]
    slope = (envelope.last - envelope.first)[i] / np.diff(envelope.edges_s)[i]
    again = reached[i] + envelope.first[i] * since + slope * since**2 / 2
    # and, where a piece is hardly longer than the distance of two floats, no nearer than that allows
    nearest = 2e-15 * until_s * max(envelope.first.max(), envelope.last.max())
    assert np.allclose(again, units, rtol=1e-9, atol=1e-9 * reached[-1] + nearest)


def test_pieces_are_cut_and_multiplied_at_every_edge():
    ramp = Shape(np.array([0.0, 10.0]), np.array([0.0, 10.0]), linear=True).until(8.0)
    assert (ramp.first.tolist(), ramp.last.tolist()) == ([0.0], [8.0])
    both = product(ramp, steps(np.array([0.0, 4.0]), np.array([1.0, 3.0]), 8.0))
    assert both.edges_s.tolist() == [0, 4, 8]
    assert (both.first.tolist(), both.last.tolist()) == ([0.0, 12.0], [4.0, 24.0])
    assert Envelope(np.arange(4.0), np.full(3, 2.0), np.full(3, 2.0)).edges_s.tolist() == [0, 3]


# What stays as it was


FLAT = [
    {"load_points": [[0.0, 3.7]]},
    {"load_points": [[0.0, 0.1], [7.3, 0.1]], "load_interpolation": "linear", "load_period_s": 9.1},
    {"growth": 1.0, "growth_every_s": 3.3},
    {"spike_factor": 1.0, "spike_s": 1.3, "spike_every_s": 7.7, "spikes": "random"},
]


@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize("length", [{"requests": 500}, {"duration_s": 123.4}])
@pytest.mark.parametrize("kind", [{}, {"arrivals": "constant"}, {"arrivals": "gamma", "burstiness": 0.3}])
def test_a_load_that_never_changes_gives_the_very_same_arrivals(flat, length, kind):
    plain = arrivals(3, rate_rps=3.3, **length, **kind)
    assert np.array_equal(plain, arrivals(3, rate_rps=3.3, **length, **kind, **flat))


def test_lengths_do_not_change_and_another_mean_rate_keeps_the_operational_times():
    keys = {"arrivals": "poisson", "lengths": "chat_azure2023", "requests": 300}
    plain = make(3, **keys, rate_rps=2.0)
    slow, fast = (make(3, **keys, **SAW, rate_rps=each) for each in (1.0, 4.0))
    for column in ("prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(plain, column), getattr(slow, column))
        assert np.array_equal(getattr(plain, column), getattr(fast, column))
    shape = Shape(*np.array(SAW["load_points"]).T, period_s=100.0)
    for workload, rate_rps in ((slow, 1.0), (fast, 4.0)):
        mean = shape.until(300 / rate_rps).mean
        envelope = shape.until(2000.0)
        units = np.interp(workload.arrival_s, envelope.edges_s, envelope.expected()) * rate_rps / mean
        assert np.allclose(units, 2.0 * plain.arrival_s, rtol=1e-12)


def test_rates_in_requests_per_s_make_longer_runs_that_only_append():
    keys = {**POISSON, **SAW}
    short, long = (arrivals(**keys, requests=n) for n in (300, 900))
    assert np.array_equal(short, long[:300])
    upto = arrivals(**keys, duration_s=170.0)
    assert np.array_equal(upto, long[long <= 170.0])
    assert len(upto) == pytest.approx(50 * 1 + 10 * 5 + 50 * 1 + 10 * 5, abs=5 * math.sqrt(200))


def test_the_mean_is_that_over_the_duration_or_the_time_that_the_requests_take():
    ramp = {
        "load_points": [[0.0, 0.0], [1000.0, 1.0]],
        "load_interpolation": "linear",
        "arrivals": "constant",
    }
    assert len(arrivals(rate_rps=2.0, duration_s=500.0, **ramp)) in (999, 1000)
    times = arrivals(rate_rps=2.0, requests=1000, **ramp)
    assert times[-1] == pytest.approx(500.0)
    assert times[499] == pytest.approx(500 * math.sqrt(0.5))
    assert arrivals(rate_rps=2.0, requests=1000, growth=1e-3, growth_every_s=600.0)[-1] < 1e5


def test_periods_repeat_and_growth_multiplies_each():
    keys = {**SAW, "arrivals": "constant", "load_points": [[0.0, 10.0], [50.0, 30.0]]}
    times = arrivals(duration_s=300.0, **keys)
    assert np.allclose(times[2000:4000] - times[:2000], 100.0)
    grown = arrivals(duration_s=300.0, growth=1.5, growth_every_s=100.0, **keys)
    assert np.bincount((grown - 1e-6).astype(int) // 100).tolist() == [2000, 3000, 4500]
    slower = arrivals(duration_s=600.0, load_time_scale=2.0, **{**keys, "load_period_s": 200.0})
    assert np.bincount((slower - 1e-6).astype(int) // 100).tolist() == [1000, 3000] * 3


def test_spikes_at_random_are_as_long_as_often_and_a_stream_of_their_own():
    keys = {"spike_factor": 100.0, "spike_s": 5.0, "spike_every_s": 50.0, "spikes": "random"}
    times = arrivals(arrivals="constant", load_points=[[0.0, 1.0]], duration_s=100_000.0, **keys)
    fast = np.diff(times) < 0.02
    begins = np.flatnonzero(fast & ~np.concatenate([[False], fast[:-1]]))
    # 2,000 spikes with exponential times of mean 45 s between them, whose sum has a deviation of 45 * sqrt(2000) s
    assert len(begins) == pytest.approx(2000, abs=5 * 45 * math.sqrt(2000) / 50)
    assert fast.sum() * 0.01 == pytest.approx(5.0 * len(begins), rel=0.01)
    gaps_s = np.diff(times[begins])
    assert gaps_s.min() > 5
    assert gaps_s.std() == pytest.approx(45, rel=5 / math.sqrt(2000))
    shorter = arrivals(arrivals="constant", load_points=[[0.0, 1.0]], duration_s=10_000.0, **keys)
    assert np.array_equal(shorter, times[: len(shorter)])


# Sessions


def test_the_starts_of_sessions_follow_the_load_whether_drawn_or_recorded():
    one_spike = {"load_points": [[0.0, 0.0], [100.0, 1.0], [110.0, 0.0]], "rate_rps": 1.0}
    drawn = make(
        **POISSON, **one_spike, duration_s=1000.0, session_turns=3.0, think_s=1e4, predictor="perfect"
    )
    first = np.unique(drawn.session, return_index=True)[1]
    assert np.all((drawn.arrival_s[first] >= 100) & (drawn.arrival_s[first] <= 110))
    assert len(first) == pytest.approx(1000, abs=5 * math.sqrt(1000))
    some = make(**POISSON, **SAW, rate_rps=1.0, requests=200, session_turns=3.0, think_s=5.0)
    assert len(some) == 200
    keys = {"trace": "sharegpt_multiturn", "think_s": 1e5, "limit": 500, "rate_rps": 0.5}
    plain, shaped = make(**keys), make(**keys, **SAW)
    assert ", load as given repeated every 100 s, with session" in shaped.source
    firsts = [np.sort(each.arrival_s[np.isnan(each.think_s)]) for each in (plain, shaped)]
    assert np.all(firsts[1] % 100 <= 60 + 1e-6)
    assert np.any(firsts[0] % 100 > 60)
    assert len(firsts[0]) == len(firsts[1])
