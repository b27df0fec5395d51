"""The search for a rate: on systems whose answer is known, and on some that are not kind."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks import coverage, single_server
from simulator.studies.capacity.best import best_rate
from simulator.studies.capacity.book import Bound, SearchPlan, Seen
from simulator.studies.capacity.search import highest_rate

PLAN = SearchPlan(start=3.0, requests=100, most_requests=100, within=0.05)


def noisy(seed, size=1.0):
    return float(np.random.default_rng(seed).normal(0, size))


def steep(asks, at=10.0, size=0.1):
    """A latency that is 1 at a rate of 10 and grows with its square; each seed is luckier or not at all rates."""
    return [Seen((ask.rate / at) ** 2 + noisy(ask.seed, size)) for ask in asks]


def test_a_known_saturation_rate_is_found_within_2_percent():
    bound = Bound(single_server.MOST_GROWTH, at_most=True)
    for seed in range(0, 8000, 1000):
        answer = highest_rate(
            single_server.stability_by_recursion, bound, replace(coverage.SEARCH, seed=seed)
        )
        assert answer.rate == pytest.approx(single_server.SATURATION_RPS, rel=0.02)
        assert answer.low < coverage.true_limit() < answer.high
        assert answer.low < answer.rate < answer.high
        assert len(answer.runs) <= 25


def test_the_simulator_gives_the_same():
    plan = SearchPlan(start=20.0, requests=5000, most_requests=5000, within=0.06)
    bound = Bound(single_server.MOST_GROWTH, at_most=True)
    answer = highest_rate(single_server.stability, bound, plan)
    assert answer.rate == pytest.approx(single_server.SATURATION_RPS, rel=0.06)
    assert coverage.holds(answer, coverage.true_limit())
    by_recursion = highest_rate(single_server.stability_by_recursion, bound, plan)
    assert (answer.low, answer.high) == pytest.approx((by_recursion.low, by_recursion.high))


@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize("start", [0.1, 3.0, 900.0])
def test_either_sign_and_any_start(at_most, start):
    def simulate(asks):
        found = steep(asks)
        return found if at_most else [Seen(-each.value) for each in found]

    answer = highest_rate(simulate, Bound(1.0 if at_most else -1.0, at_most), replace(PLAN, start=start))
    assert answer.low < 10.0 < answer.high
    assert answer.rate == pytest.approx(10.0, rel=0.08)
    assert {each.verdict for each in answer.shown} >= {"holds", "fails"}


def test_noise_makes_the_answer_wider_not_wrong():
    widths = []
    for size in (0.02, 0.5):
        covered, width = [], []
        for seed in range(0, 20_000, 1000):
            answer = highest_rate(
                partial(steep, size=size), Bound(1.0, at_most=True), replace(PLAN, seed=seed)
            )
            covered.append(coverage.holds(answer, 10.0))
            width.append((answer.high or math.inf) / (answer.low or 1e-9))
        assert np.mean(covered) >= 0.95
        widths.append(np.median(width))
    assert widths[0] == pytest.approx(1.05**2)
    assert widths[1] > 1.3


def test_runs_get_as_long_as_the_precision_needs():
    def simulate(asks):
        return [Seen(ask.rate / 10 + noisy(ask.seed, 3 / math.sqrt(ask.requests))) for ask in asks]

    rough, fine = (
        highest_rate(
            simulate, Bound(1.0, at_most=True), replace(PLAN, most_requests=1_000_000, within=within)
        )
        for within in (0.2, 0.02)
    )
    lengths = [max(ask.requests for ask in answer.runs) for answer in (rough, fine)]
    assert lengths[1] > 20 * lengths[0]
    assert fine.low < 10.0 < fine.high
    assert fine.high / fine.low < 1.1


def test_all_rates_see_the_same_requests_and_the_verdicts_other_ones():
    answer = highest_rate(steep, Bound(1.0, at_most=True), PLAN)
    shown = {each.rate for each in answer.shown}
    looked = {ask.seed for ask in answer.runs if ask.rate not in shown}
    judged = [{ask.seed for ask in answer.runs if ask.rate == rate} for rate in shown]
    assert min(looked) == PLAN.seed
    assert all(not looked & seeds for seeds in judged)
    assert len(set.intersection(*judged)) >= 4


def test_a_saturated_rate_never_holds_however_good_its_numbers_are():
    def simulate(asks):
        return [Seen(0.1 + noisy(ask.seed, 0.01), "grows" if ask.rate > 7 else None) for ask in asks]

    answer = highest_rate(simulate, Bound(1.0, at_most=True), PLAN)
    assert answer.low < 7 < answer.high
    (failed,) = [each for each in answer.shown if each.verdict == "fails"]
    assert failed.saturated == len(failed.seen)
    assert failed.mean.high < 1.0


def test_one_saturated_replication_is_a_long_burst():
    def simulate(asks):
        return [replace(each, saturated="grows" if ask.seed == 4 else None)
                for ask, each in zip(asks, steep(asks), strict=True)]  # fmt: skip

    answer = highest_rate(simulate, Bound(1.0, at_most=True), PLAN)
    assert answer.low < 10.0 < answer.high


def test_a_value_that_does_not_exist_is_never_shown_to_hold():
    answer = highest_rate(
        lambda asks: [Seen(math.nan if ask.rate > 7 else noisy(ask.seed)) for ask in asks],
        Bound(5.0, at_most=True),
        PLAN,
    )
    assert answer.low < 7
    assert answer.high is None


def test_a_target_that_is_never_or_always_kept():
    never = highest_rate(lambda asks: [Seen(2.0 + noisy(a.seed, 0.01)) for a in asks], Bound(1.0, True), PLAN)
    assert (never.rate, never.low) == (None, None)
    assert never.high < PLAN.start / 1000
    assert "missed even at" in never.notes[0]
    always = highest_rate(lambda asks: [Seen(noisy(a.seed, 0.01)) for a in asks], Bound(1.0, True), PLAN)
    assert (always.rate, always.high) == (None, None)
    assert always.low > 1000 * PLAN.start
    assert "kept even at" in always.notes[0]


def test_where_nothing_is_random_the_ends_are_of_the_bisection():
    answer = highest_rate(partial(steep, size=0.0), Bound(1.0, at_most=True), PLAN)
    assert answer.confidence is None
    assert answer.low <= 10.0 < answer.high <= answer.low * 1.05**2
    assert "nothing is random" in answer.notes[0]
    peak = best_rate(lambda asks: [Seen(-((ask.rate - 5) ** 2)) for ask in asks], PLAN)
    assert peak.confidence is None
    assert peak.low < 5 < peak.high


@pytest.mark.parametrize("search", [partial(highest_rate, bound=Bound(1.0, at_most=True)), best_rate])
@pytest.mark.parametrize("most", [1, 5, 12])
def test_a_search_that_runs_out_of_simulations_says_so(search, most):
    answer = search(steep, plan=replace(PLAN, most_simulations=most))
    assert len(answer.runs) <= most
    assert any("the most allowed" in note for note in answer.notes)
    assert (answer.low, answer.high) == (None, None) or most == 12


def test_runs_too_short_to_judge_are_made_longer():
    def simulate(asks):
        return [
            replace(each, saturated="filling" if (short := ask.requests < 700) else None, too_short=short)
            for ask, each in zip(asks, steep(asks), strict=True)
        ]

    answer = highest_rate(simulate, Bound(1.0, at_most=True), replace(PLAN, most_requests=800))
    assert answer.low < 10.0 < answer.high
    assert {each.requests for each in answer.shown} == {800}


@pytest.mark.parametrize("start", [0.2, 5.0, 300.0])
def test_the_best_rate_is_found(start):
    """Worth per second rises with the rate until readers wait: 20 (1 - (x - 1)^2) for x = rate / 20."""
    covered, off = [], []
    for seed in range(0, 10_000, 1000):
        answer = best_rate(
            lambda asks: [
                Seen(20 * (1 - (ask.rate / 20 - 1) ** 2) + noisy(ask.seed) + noisy(abs(hash(ask)), 0.1))
                for ask in asks
            ],
            replace(PLAN, start=start, seed=seed, within=0.1),
        )
        covered.append(coverage.holds(answer, 20.0) and answer.low is not None and answer.high is not None)
        off.append(abs(answer.rate / 20 - 1))
        assert [each.rate for each in answer.shown if each.verdict == "best"] == [answer.rate]
    assert np.mean(covered) >= 0.9
    assert max(off) < 0.15


def test_rates_that_are_compared_for_their_worth_are_simulated_for_one_time():
    def simulate(asks):
        return [Seen(-abs(a.rate - 9) + noisy(a.seed), too_short=a.requests < 60 * a.rate) for a in asks]

    answer = best_rate(simulate, replace(PLAN, start=1.0, most_requests=800))
    judged = [ask for ask in answer.runs if ask.seed > 3]
    assert len({ask.rate for ask in judged}) > 2
    times_s = [ask.requests / ask.rate for ask in judged]
    assert times_s == pytest.approx([times_s[0]] * len(judged), rel=0.01)
    assert 60 <= times_s[0] < 120  # doubled until it was long enough
    fixed = best_rate(simulate, replace(PLAN, by_time=False))
    assert {ask.requests for ask in fixed.runs} == {PLAN.requests}


def test_an_objective_that_only_rises_has_no_upper_end():
    answer = best_rate(lambda asks: [Seen(ask.rate + noisy(ask.seed, 0.01)) for ask in asks], PLAN)
    assert answer.high is None
    assert "still better" in answer.notes[0]


def saturating(asks, at=20.0, size=0.0, noticed=1.0):
    """What arrives and is served at last, at whatever time: more at any rate. Near saturation only backlogs tell."""
    return [
        Seen(
            ask.rate + noisy(ask.seed, size),
            saturated="grows" if ask.rate > noticed * at else None,
            growth=max(0.0, 1 - at / ask.rate) + noisy(ask.seed, 0.002),
        )
        for ask in asks
    ]


@pytest.mark.parametrize("start", [0.3, 15.0, 5000.0])
@pytest.mark.parametrize("noticed", [1.0, 1.15])
def test_a_saturated_rate_never_wins_however_much_it_seems_to_serve(start, noticed):
    for seed in range(0, 10_000, 1000):
        search = partial(saturating, noticed=noticed, size=0.1)
        answer = best_rate(search, replace(PLAN, start=start, seed=seed))
        assert answer.rate == pytest.approx(20.0, rel=0.06)
        assert answer.low < 20.0 < answer.high


def test_where_nothing_keeps_up_there_is_no_best_rate():
    answer = best_rate(lambda asks: [Seen(ask.rate, "grows") for ask in asks], PLAN)
    assert (answer.rate, answer.low) == (None, None)
    assert answer.high == min(ask.rate for ask in answer.runs)
    assert "does not keep up" in answer.notes[0]


@pytest.mark.parametrize("start", [0.5, 30.0, 1e9])
@pytest.mark.parametrize("search", [partial(highest_rate, bound=Bound(1.0, at_most=True)), best_rate])
def test_nothing_is_simulated_above_the_most_rate(search, start):
    def simulate(asks):  # the target is always kept, and more is always better
        return [Seen(-1.0 if "bound" in getattr(search, "keywords", {}) else ask.rate) for ask in asks]

    def random(asks):
        both = zip(asks, simulate(asks), strict=True)
        return [replace(seen, value=seen.value + noisy(ask.seed, 0.01)) for ask, seen in both]

    for each in (simulate, random):
        answer = search(each, plan=replace(PLAN, start=start, most_rate=40.0))
        assert max(ask.rate for ask in answer.runs) == 40.0
        assert (answer.rate or answer.low) == pytest.approx(40.0, rel=0.11)
        assert max(answer.rate or 0, answer.low or 0, answer.high or 0) <= 40.0
        assert any("above which no schedule serves all" in note for note in answer.notes)


@pytest.mark.parametrize("most", range(1, 40, 3))
def test_an_answer_lies_within_what_was_simulated_wherever_it_stops(most):
    for search in (partial(highest_rate, bound=Bound(1.0, at_most=True)), best_rate):
        answer = search(partial(steep, size=1.0), plan=replace(PLAN, start=1.0, most_simulations=most))
        rates = [ask.rate for ask in answer.runs]
        for rate in (answer.rate, answer.low, answer.high):
            assert rate is None or min(rates) <= rate <= max(rates)


def test_a_guess_from_several_seeds_stays_below_the_most_rate_too():
    def simulate(asks):  # the first seed has it just below the most rate, the others far above
        return [
            Seen((ask.rate / (38.0 if ask.seed == 0 else 80.0)) ** 2 + noisy(ask.seed, 0.001)) for ask in asks
        ]

    answer = highest_rate(simulate, Bound(1.0, at_most=True), replace(PLAN, start=10.0, most_rate=40.0))
    assert max(ask.rate for ask in answer.runs) <= 40.0
    assert answer.high is None
    assert answer.low <= answer.rate <= 40.0
