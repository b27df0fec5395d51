"""The league: who wins a cell, fair shares of tenants, who plays, and what a wrong protocol is told."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.league._measured import fair_share, fair_shares, measured
from experiments.league._protocol import FILE, League, league
from experiments.league._standings import relative, winners
from experiments.paper._protocol import read
from servesim import run
from simulator.errors import InputError

LEVEL, CONFIDENCE = 0.01, 0.95


def values(**means):
    """Return eight seeds of each, whose differences are the same at each seed up to a little."""
    noise = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 0.0])
    apart = {name: 0.01 * np.roll(noise, place) for place, name in enumerate(means)}
    return {name: mean + 10 * noise + apart[name] for name, mean in means.items()}


def test_the_best_wins_and_who_is_shown_to_be_worse_does_not() -> None:
    found = values(a=100.0, b=95.0, c=99.5)
    assert winners(found, "higher", LEVEL, CONFIDENCE) == {"a", "c"}  # c: within 1 %
    assert winners(found, "lower", LEVEL, CONFIDENCE) == {"b"}


def test_a_difference_that_seeds_do_not_show_is_a_tie() -> None:
    noise = np.array([30.0, -30.0, 25.0, -25.0, 20.0, -20.0, 10.0, -10.0])
    assert winners({"a": 100 + 0 * noise, "b": 90 + noise}, "higher", LEVEL, CONFIDENCE) == {"a", "b"}


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=6), st.sampled_from(["higher", "lower"]))
def test_there_is_always_a_winner_and_it_is_the_best(means: list[float], better: str) -> None:
    found = {str(place): np.full(5, mean) for place, mean in enumerate(means)}
    best = (max if better == "higher" else min)(means)
    won = winners(found, better, LEVEL, CONFIDENCE)
    assert str(means.index(best)) in won
    assert all(relative(means[int(name)], best, better) >= 1 / (1 + LEVEL) - 1e-9 for name in won)


def test_nearness_to_the_best() -> None:
    assert relative(50.0, 100.0, "higher") == relative(2.0, 1.0, "lower") == 0.5
    assert relative(-5.0, 100.0, "higher") == 0.0
    assert relative(0.0, 0.0, "lower") == 1.0


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=5), st.floats(0, 1))
def test_fair_shares_are_max_min(asked: list[float], part: float) -> None:
    total = part * sum(asked)
    shares = fair_shares(np.array(asked), total)
    assert shares.sum() == pytest.approx(total, abs=1e-6)
    assert np.all(shares <= np.array(asked) + 1e-9)
    for one, other in itertools.permutations(
        range(len(asked)), 2
    ):  # who wants more has no less than any other
        assert shares[one] >= min(asked[one], shares[other]) - 1e-6


def test_fair_share_of_the_tenant_served_least() -> None:
    assert (
        fair_share(np.array([300.0, 100.0]), np.array([150.0, 50.0])) == 0.5
    )  # the second asked for what is fair
    assert fair_share(np.array([300.0, 100.0]), np.array([100.0, 100.0])) == 1.0
    assert fair_share(np.zeros(2), np.zeros(2)) == 1.0


def test_what_is_not_served_counts() -> None:
    rules = league()
    game = rules.scenario("chat", 1.3, "vllm_v1", 0, 0.1)
    whole = measured(run(game))
    cut = measured(run(game.model_copy(update={"run": game.run.model_copy(update={"horizon_s": 3.0})})))
    assert whole.keys() == set(rules.metrics)
    assert cut["deadlines"] < whole["deadlines"]
    assert cut["fairness"] <= 1


def test_who_plays_is_on_one_engine_and_a_home_is_of_someone_who_plays() -> None:
    rules = league()
    playing = rules.schedulers()
    assert set(playing).isdisjoint(rules.not_playing)
    assert "vllm_v1" in playing
    assert {name for of in rules.metrics.values() for name in of.home} <= set(playing)


def test_a_wrong_protocol_is_told_by_file_and_key(tmp_path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(FILE.read_text(encoding="utf-8").replace("level = 0.01", "level = -1"), encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.toml: level"):
        read(own, League)
