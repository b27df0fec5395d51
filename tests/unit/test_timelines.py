"""The reader who goes token by token, and the picture that explains the metric."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import first_picture, kv_tier_rates, load_shapes
from experiments.paper._timelines import tokens_of, waited_s, waits
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import idle_latency_s

times = st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=30).map(
    lambda gaps: np.cumsum(gaps)
)


def test_a_reader_waits_from_when_it_wants_a_token_until_it_comes():
    assert waits(np.array([0.1, 0.2, 1.5, 1.6]), 0.5) == []  # a token that comes as it is wanted
    assert waits(np.array([0.1, 0.2, 2.0, 2.1]), 0.5) == [(1.5, 2.0)]
    assert waits(np.array([1.0, 2.0]), 0.25) == [(0.25, 1.0), (1.25, 2.0)]
    assert waits(np.array([1.0, 2.0]), 0.25, start_s=2.0) == []


@given(st.lists(times, min_size=1, max_size=4), st.sampled_from(["arrival", "first_token"]))
def test_the_sum_of_its_waits_is_the_largest_lateness(requests, origin):
    log = RequestLog.from_lists([0.5] * len(requests), [(0.5 + each).tolist() for each in requests])
    user = UserModel(0.2, origin=origin)
    found = waited_s(log, user)
    assert found == pytest.approx(idle_latency_s(log, user), abs=1e-9)
    for request in range(log.n):
        tokens_s = tokens_of(log, request)
        start_s = float(tokens_s[0]) if origin == "first_token" else 0.0
        total_s = sum(end - start for start, end in waits(tokens_s, 0.2, start_s))
        assert total_s == pytest.approx(found[request], abs=1e-9)


def test_the_first_picture_shows_the_longest_wait_of_those_that_both_complete(tmp_path, monkeypatch):
    steady = np.arange(1, 101) * 0.04
    stalled, longer = steady + np.where(steady > 1, 2.0, 0.0), steady + np.where(steady > 1, 3.0, 0.0)
    late_first = steady + 9.0  # a wait for the first token does not count
    logs = {
        "sglang": RequestLog.from_lists(
            [0.0] * 4, [each.tolist() for each in (late_first, stalled, longer, steady)]
        ),
        "smooth": RequestLog.from_lists([0.0] * 4, [steady.tolist()] * 4),
    }
    monkeypatch.setattr(first_picture, "served", logs.get)
    assert first_picture.shown(logs) == 2
    first_picture.draw(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_picture_of_loads_is_drawn_from_what_ships(tmp_path):
    load_shapes.draw(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert (tmp_path / "picture.svg").exists()


def test_the_picture_of_kv_tiers_is_drawn_from_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(kv_tier_rates, "REQUESTS", 10)
    monkeypatch.setattr(kv_tier_rates, "RATES_GB_S", (25.0,))
    kv_tier_rates.draw(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
