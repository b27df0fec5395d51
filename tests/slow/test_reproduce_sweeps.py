"""The verdicts of figures 5, 6 and 11 follow from the sweeps, and turn round when the data do."""

import numpy as np
import pytest

from experiments.paper import fig5_classic, fig6_smooth_goodput, fig11_alpha
from experiments.paper._protocol import PROTOCOL, swept, windows
from experiments.paper._sweeps import (
    AS_PUBLISHED,
    CLASSIC,
    Place,
    Sweep,
    measured_run,
    peak_at,
    places,
)
from simulator import run
from simulator.metrics._options import UserModel
from simulator.metrics._window import Window

RATES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
SEEDS = np.random.default_rng(1).normal(0, 0.01, (8, 1))


def sweep(place, smooth=(1, 2, 3, 2, 1), classic=None, throughput=(1, 2, 3, 4, 5)):
    """Each measure over the rates, the same for all seeds but for a little noise."""
    values = {name: np.array([1.0, 2, 3, 4, 5]) for name in CLASSIC} | {"throughput": np.array(throughput)}
    values |= classic or {}
    return Sweep(
        place,
        RATES,
        {name: each + SEEDS for name, each in values.items()},
        {AS_PUBLISHED: np.array(smooth) + SEEDS, "another": np.array(smooth)[::-1] + SEEDS},
        dict.fromkeys((AS_PUBLISHED, "another"), np.array(throughput) + SEEDS),
        np.array([1.0, 0.95, 0.9, 0.5, 0.1]) + 0 * SEEDS,
        np.ones((8, 5)),
    )


def all_of(**how):
    return [sweep(place, **how) for place in places()]


# What a sweep says of itself


def test_the_best_rate_is_the_top_of_a_parabola_and_an_end_is_an_end():
    assert peak_at(RATES, np.array([0.0, 1, 2, 1, 0])) == pytest.approx(4)
    between = peak_at(RATES, np.array([0.0, 1, 2, 1.9, 0]))
    assert 4 < between < 8
    assert peak_at(RATES, np.array([5.0, 1, 2, 1, 0])) == 1
    assert peak_at(RATES, np.array([0.0, 1, 2, 3, 4])) == 16
    assert 2 <= peak_at(RATES, np.array([0.0, 2, 2, 2, 0])) <= 8


def test_capacity_is_the_highest_rate_up_to_which_enough_is_met():
    found = sweep(places()[0])
    assert found.capacity_rps(0.9) == 4
    assert found.capacity_rps(0.99) == 1
    assert sweep(places()[0]).capacity_rps(1.01) == 0


def test_another_alpha_is_what_a_run_scored_with_it_says():
    model, traffic, engine = places()[0]
    result = run(swept(model, traffic, engine, 1.5, 0, share=0.1))
    window = Window(windows(traffic, 0.1)["T 1"].rule)
    found = {}
    for alpha in (2.5, 7.0):
        user = UserModel(v_s_per_token=0.2, alpha=alpha)
        found[alpha] = measured_run(result, {AS_PUBLISHED: (user, window)})
    one = Sweep(
        places()[0],
        np.array([1.0]),
        {},
        {AS_PUBLISHED: np.array([[found[2.5]["smooth"][AS_PUBLISHED]]])},
        {AS_PUBLISHED: np.array([[found[2.5]["worth"][AS_PUBLISHED]]])},
        np.ones((1, 1)),
        np.ones((1, 1)),
    )
    assert one.dearer(7.0 / 2.5)[0, 0] == pytest.approx(found[7.0]["smooth"][AS_PUBLISHED])
    assert found[7.0]["smooth"][AS_PUBLISHED] < found[2.5]["smooth"][AS_PUBLISHED]
    assert found[2.5]["worth"][AS_PUBLISHED] == pytest.approx(found[2.5]["classic"]["throughput"])


def test_each_seed_is_another_run_measured_over_its_arrivals_time():
    for place in (places()[0], places()[-1], *places("v1")):
        first, second = (swept(*place, 0.5, seed) for seed in (0, 1))
        assert first != second
        assert first.metrics.window == PROTOCOL.sweep.traffic[place.traffic].arrivals_s


# Verdicts


def test_fig5_finds_an_operating_point_where_there_is_one():
    assert fig5_classic.judge(all_of()).outcome == "reproduced"
    one_best = all_of()
    one_best[0] = sweep(places()[0], classic={"TTFT mean": np.array([3.0, 2, 1, 2, 3])})
    assert fig5_classic.judge(one_best).outcome == "partly reproduced"
    turned = all_of(classic={"TTFT mean": np.array([3.0, 2, 1, 2, 3])}, throughput=(1, 2, 3, 2, 1))
    assert fig5_classic.judge(turned).outcome == "not reproduced"


def test_fig6_needs_a_peak_everywhere_and_chunks_that_move_it_up():
    def with_chunks(chunked, whole=(1, 2, 3, 2, 1)):
        moved = {"vLLM 0.5, chunked", "vLLM 0.24"}
        return [sweep(place, chunked if place.engine in moved else whole) for place in places()]

    assert fig6_smooth_goodput.judge(with_chunks((1, 1.5, 2, 3, 1))).outcome == "reproduced"
    assert fig6_smooth_goodput.judge(all_of()).outcome == "partly reproduced"
    assert fig6_smooth_goodput.judge(with_chunks((1, 3, 2, 1.5, 1))).outcome == "partly reproduced"
    rising = fig6_smooth_goodput.judge(all_of(smooth=(1, 2, 3, 4, 5)))
    assert rising.outcome == "not reproduced"
    assert rising.readings == {"another": "not reproduced"}
    assert fig6_smooth_goodput.judge(all_of(), [sweep(place) for place in places("v1")]).numbers.endswith(
        "The set-up of v1: 4 of 4 sweeps show a peak, and chunks move it up in 0 of 2 pairs."
    )


def test_fig11_needs_a_peak_that_falls_with_alpha():
    growing = all_of(smooth=(1, 1.95, 2.8, 3.0, 2.5), throughput=(1, 2, 3, 4, 5))
    assert fig11_alpha.judge(growing).outcome == "reproduced"
    free = all_of(smooth=(1, 2, 3, 2, 1), throughput=(1, 2, 3, 2, 1))  # no idle time: alpha changes nothing
    assert fig11_alpha.judge(free).outcome == "not reproduced"
    # Idle time that falls with the rate: the dearer, the higher the best rate.
    turned = all_of(smooth=(0.5, 2.0, 3.0, 2.9, 2.4), throughput=(3, 4, 3.5, 3, 2.4))
    assert fig11_alpha.judge(turned).outcome == "not reproduced"


def test_pairs_are_of_the_same_engine_model_and_traffic():
    whole, chunked = zip(*fig6_smooth_goodput.chunk_pairs(all_of()), strict=True)
    assert len(whole) == len(places()) / 2
    for one, other in zip(whole, chunked, strict=True):
        assert one.place[:2] == other.place[:2]
        assert one.place.engine.split(",")[0] == other.place.engine.split(",")[0]
        assert isinstance(one.place, Place)
