"""The verdicts of figures 8 and 9 and of Eq. 8 follow from the data, and turn round when the data do."""

import math

import numpy as np
import pytest

from experiments.paper import eq8_dropping as eq8
from experiments.paper import fig8_chunks_and_stalls as fig8
from experiments.paper import fig9_delaying as fig9
from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._sweeps import AS_PUBLISHED, Place
from simulator import run
from simulator.metrics._log import RequestLog

NOISE = np.random.default_rng(2).normal(0, 0.01, 8)


# Figure 8: chunks


def stalls(p99_with=0.1, held_up=0.0, stalled=3):
    """Every pair of servers, with the same change of p99 TBT (0.5 s without chunks) and of delivery."""
    rows = [
        {
            "stalled": stalled,
            "p99_s": [0.5, p99_with + noise],
            "tbt_s": [[0.1], [0.1]],
            "first": held_up - 0.2 if stalled else None,
            "held_up": held_up + noise if stalled else None,
            "last": held_up if stalled else None,
            "all_requests": 0.0,
        }
        for noise in NOISE
    ]
    return dict.fromkeys(fig8.pairs(), rows)


def test_fig8_needs_shorter_tails_and_tokens_that_are_not_earlier():
    assert fig8.judge(stalls()).outcome == "reproduced"
    assert fig8.judge(stalls(held_up=0.5)).outcome == "reproduced"  # later is not earlier
    assert fig8.judge(stalls(held_up=-0.5)).outcome == "not reproduced"
    assert fig8.judge(stalls(p99_with=0.9)).outcome == "not reproduced"
    assert fig8.judge(stalls(stalled=0)).outcome == "not reproduced"
    few = stalls()
    first, *_ = few
    few[first] = stalls(held_up=-0.5)[first]
    assert fig8.judge(few).outcome == "partly reproduced"


def test_gaps_are_those_within_requests():
    log = RequestLog.from_lists([0.0, 0.0, 0.0, 0.0], [[1.0, 2.0, 4.0], [], [3.0], [5.0, 5.5]])
    assert fig8.gaps_s(log).tolist() == [1.0, 2.0, 0.5]


def test_a_run_is_compared_with_the_same_requests_in_chunks():
    place, engine = next(pair for pair in fig8.pairs() if pair[0].traffic == "trace")
    kind = PROTOCOL.server.engines[engine]
    limits = {"profile": kind.profile, "max_num_batched_tokens": kind.max_num_batched_tokens}
    changed = {"policy": {"scheduling": kind.scheduling}, "engine": limits}
    scenario = swept(*place, 0.8, 0, share=0.25)
    found = fig8.compared(run(scenario), changed)
    other = run(swept(place.model, place.traffic, engine, 0.8, 0, share=0.25))
    assert found["p99_s"][1] == pytest.approx(float(np.quantile(fig8.gaps_s(other.log), 0.99)), rel=0.05)
    assert found["stalled"] > 0
    assert found["p99_s"][1] < found["p99_s"][0]
    same = fig8.compared(run(scenario), {})
    assert same["first"] == same["last"] == same["all_requests"] == 0


# Figure 9: tokens held back


def delays(classic=0.3, tail=-0.1, smooth=0.0):
    """Two arms, and a longer hold; what gaps of V change."""

    def arm(share):
        base = {
            fig9.CLASSIC: 0.5,
            fig9.TAIL: 0.3,
            fig9.TOKEN: 0.9,
            fig9.TOTAL: 1e5,
            AS_PUBLISHED: 900.0,
            "other": 900.0,
        }
        change = {fig9.CLASSIC: classic, fig9.TAIL: tail, AS_PUBLISHED: smooth, "other": -smooth}
        return {
            name: value
            + NOISE
            + share * (change.get(name, 0.0) + (name in change and change[name] != 0) * 0.1 * NOISE)
            for name, value in base.items()
        }

    hold = (fig9.EVEN[0], PROTOCOL.delaying.holds_s[-1])
    return {fig9.NONE: arm(0), fig9.EVEN: arm(1), hold: arm(2)}


def test_fig9_needs_a_gamed_objective_and_smooth_goodput_that_is_not():
    assert fig9.judge(delays()).outcome == "reproduced"
    falls = fig9.judge(delays(smooth=-50.0))
    assert (falls.outcome, falls.readings) == ("reproduced", {"other": "not reproduced"})
    assert fig9.judge(delays(smooth=50.0)).outcome == "not reproduced"
    assert fig9.judge(delays(tail=0.1)).outcome == "partly reproduced"
    assert fig9.judge(delays(classic=-0.3, tail=0.1)).outcome == "not reproduced"


def test_no_token_is_delivered_before_it_is_there():
    readers = {AS_PUBLISHED: PROTOCOL.reader}
    delivery = {"delivery": {"name": "paced", "gap_s": 0.2}}
    place = PROTOCOL.delaying.place
    plain, paced = (
        fig9.measured_run(run(swept(*place, 0.55, 0, share=0.1, policy=how)), readers)
        for how in ({}, delivery)
    )
    assert plain["earlier"] == paced["earlier"] == 0
    assert plain["generated_s"] == paced["generated_s"]
    assert plain[fig9.TOTAL] == pytest.approx(paced[fig9.TOTAL], abs=1e-6)


# Equation 8: drops


def drops(goodput=(1.0, 100.0), smooth=-50.0, other=-50.0, tokens=-100.0):
    """Every case, with the same change of goodput in both units, of smooth goodput, and of tokens."""
    base = {eq8.REQUESTS: 5.0, eq8.TOKENS: 500.0, eq8.DELIVERED: 1000.0, AS_PUBLISHED: 600.0, eq8.DONE: 600.0}
    change = dict(zip(base, (*goodput, tokens, smooth, other), strict=True))
    return {
        eq8.Case(rule, Place(*place), load): {
            name: (value + NOISE, value + change[name] + 1.1 * NOISE) for name, value in base.items()
        }
        for rule in eq8.RULES
        for place in PROTOCOL.dropping.places
        for load in PROTOCOL.dropping.loads
    }


def test_eq8_needs_gamed_cases_in_which_smooth_goodput_does_not_rise():
    assert eq8.judge(drops()).outcome == "reproduced"
    other = eq8.judge(drops(other=50.0))
    assert (other.outcome, other.readings) == ("reproduced", {eq8.DONE: "not reproduced"})
    assert eq8.judge(drops(smooth=50.0)).outcome == "not reproduced"
    assert eq8.judge(drops(goodput=(-1.0, 100.0))).outcome == "not reproduced"
    mixed = drops()
    first = next(case for case in mixed if case.overloaded)
    mixed[first] = drops(goodput=(-1.0, -100.0))[first]
    assert eq8.judge(mixed).outcome == "partly reproduced"


def test_dropping_pays_from_the_price_at_which_waiting_saved_outweighs_tokens_lost():
    def star(tokens, smooth):
        measured = drops(tokens=tokens, smooth=smooth)
        return eq8.alpha_star(measured, next(iter(measured)))

    # At alpha = 2.5: 100 tokens/s lost, and 50 less of penalty, so 20 s/s of waiting saved: pays from 5 on.
    assert star(-100.0, -50.0) == pytest.approx(5.0, rel=0.01)
    assert star(-100.0, -150.0) == math.inf
    assert star(100.0, 150.0) == 0.0
    case = next(iter(drops()))
    alike = {case: {name: (values[0], values[0]) for name, values in drops()[case].items()}}
    assert math.isnan(eq8.alpha_star(alike, case))
