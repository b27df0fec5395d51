"""The verdicts of C1 to C3 follow from the data, and turn round when the data do."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context

from experiments.paper import _c3_readings, c1_deadlines, c2_delaying, c3_abandoning
from experiments.paper._reproduce import STYLE, Study
from simulator.metrics._log import RequestLog


class Fake(Study):
    """Gives made-up data instead of simulating, and draws without writing."""

    def __init__(self, out: Path, summary=None, log=None) -> None:
        super().__init__(out, quick=True)
        self.summary, self.log = summary, log

    @property
    def seeds(self):
        return tuple(range(5))

    def first_seeds(self, n):
        return self.seeds

    def readings(self, scenarios, readings, **options):
        return [[self.summary(each, reading) for each in scenarios] for reading in readings]

    def save(self, figure, name):
        figure.draw_without_rendering()


def outcome(experiment, study) -> str:
    with rc_context(STYLE):
        return experiment.run(study).outcome


def test_c1_needs_both_mistakes(tmp_path):
    stalls, waits = c1_deadlines.timelines().values()

    def log(*requests):
        return lambda scenario: RequestLog.from_lists(
            [0.0] * len(requests), [each + 0.98 for each in requests]
        )

    assert outcome(c1_deadlines, Fake(tmp_path, log=log(stalls, waits))) == "reproduced"
    assert outcome(c1_deadlines, Fake(tmp_path, log=log(stalls))) == "partly reproduced"
    steady = np.arange(60) * 0.02
    assert outcome(c1_deadlines, Fake(tmp_path, log=log(steady))) == "not reproduced"
    both_right = (3 * steady, steady)  # at 60 ms its TPOT condemns who waits
    assert outcome(c1_deadlines, Fake(tmp_path, log=log(*both_right))) == "not reproduced"


def test_c1_checks_deadlines_and_does_not_judge_by_them(tmp_path, monkeypatch):
    stalls, waits = c1_deadlines.timelines().values()
    log = RequestLog.from_lists([0.0, 0.0], [stalls + 0.98, waits + 0.98])
    monkeypatch.setattr(c1_deadlines, "meets_token_slo", lambda log, user: np.zeros(log.n, np.bool_))
    with pytest.raises(RuntimeError, match="d_i was wrong"):
        outcome(c1_deadlines, Fake(tmp_path, log=lambda scenario: log))


def delaying(scenario, reading, *, classic=1, tail=1, smooth=0, first_token=0, benefit=0):
    """What a delay changes: the objective, by ``classic`` and ``tail``, and the reader's measures."""
    even = scenario.policy.delivery.name == "paced"
    noise = 0.01 * scenario.seed
    change = even * (100 * smooth + 10 * first_token * (reading.user.origin == "first_token"))
    return {
        "token_slo": {"attainment": 0.5 + noise},
        "smooth_goodput": {
            "benefit_tokens": 1e5 + even * benefit + noise,
            "smooth_goodput_tokens_per_s": 900.0
            + noise
            + change
            - 50 * even * (reading.window.rule == "whole"),
        },
        "slo": {"attainment_all": 0.5 + 0.2 * classic * even + noise * even},
        "latency": {"tbt_s": {"p99": 0.1 - 0.05 * tail * even + noise / 10}},
    }


def test_c2_needs_both_classic_gains_and_checks_the_rest(tmp_path):
    same = RequestLog.from_lists([0.0], [[1.0, 2.0]])

    def found(log=lambda scenario: same, **effects):
        return outcome(c2_delaying, Fake(tmp_path, lambda *of: delaying(*of, **effects), log))

    assert found() == "reproduced"
    assert found(smooth=-1) == "reproduced"
    assert found(classic=-1) == "partly reproduced"
    assert found(classic=-1, tail=-1) == "not reproduced"
    for impossible in ({"smooth": 1}, {"first_token": 1}, {"benefit": -1}):
        with pytest.raises(RuntimeError, match="check failed"):
            found(**impossible)
    earlier = RequestLog.from_lists([0.0], [[1.0, 1.5]])
    with pytest.raises(RuntimeError, match="tokens came earlier"):
        found(lambda scenario: earlier if scenario.policy.delivery.name == "paced" else same)


def test_c2_says_what_the_metrics_own_time_does(tmp_path):
    same = RequestLog.from_lists([0.0], [[1.0, 2.0]])
    with rc_context(STYLE):
        verdict = c2_delaying.run(Fake(tmp_path, delaying, lambda scenario: same))
    assert "over the metric's own T, which they make longer, by -50.0" in verdict.numbers
    assert "Checked, as it cannot fail" in verdict.numbers


def abandoning(scenario, reading, *, classic=(1, 1), primary=-1, others=-1):
    """What dropping changes: classic goodput by rule, and smooth goodput, where alpha is V's half."""
    drop, noise = scenario.policy.abandonment.name != "none", 0.1 * scenario.seed
    by_ttft = reading.slo.ttft_s is not None
    first = (reading.user.origin, reading.user.unserved) == ("arrival", "asks_again")
    tokens = 1e3 - 100 * drop
    change = drop * (30 * (primary if first else others) + noise)
    # smooth goodput at alpha = 0.5/V is 600 and the change; V times the waiting is the same at any alpha
    idle_tokens = 2 * (tokens - 600 - change)
    return {
        "slo": {
            "goodput_requests_per_s": 5 + drop * (classic[0 if by_ttft else 1] + 0.1 * noise),
            "goodput_tokens_per_s": 500 + drop * (100 * classic[0 if by_ttft else 1] + noise),
        },
        "throughput": {"output_tokens_per_s": tokens},
        "states": {"completed": {"share_of_arrived": 1 - 0.2 * drop}},
        "smooth_goodput": {"smooth_goodput_tokens_per_s": tokens - idle_tokens},
    }


def test_c3_needs_gamed_cases_in_which_smooth_goodput_does_not_rise(tmp_path):
    def found(**effects):
        return outcome(c3_abandoning, Fake(tmp_path, lambda *of: abandoning(*of, **effects)))

    assert found() == "reproduced"
    assert found(others=1) == "partly reproduced"  # under another option of user.unserved
    assert found(classic=(0, 1)) == "partly reproduced"  # one rule alone games it
    assert found(primary=1) == "not reproduced"
    assert found(classic=(-1, -1)) == "not reproduced"


def test_c3_says_from_which_price_of_waiting_on_dropping_pays():
    case, reader = _c3_readings.CASES[0], _c3_readings.FIRST
    delivered, idle = _c3_readings.DELIVERED, _c3_readings.IDLE[reader]

    def star(lost, saved):
        measured = {
            (delivered, case, True): [100.0 - lost, 110.0 - lost],
            (delivered, case, False): [100.0, 110.0],
        }
        measured |= {(idle, case, True): [9.0 - saved, 8.0 - saved], (idle, case, False): [9.0, 8.0]}
        assert np.mean(_c3_readings.gained(measured, case, reader, 2.0)) == pytest.approx(2 * saved - lost)
        return _c3_readings.alpha_star(measured, case, reader)

    assert star(lost=10.0, saved=2.0) == pytest.approx(5.0)
    assert star(lost=10.0, saved=-1.0) == np.inf
    assert star(lost=-1.0, saved=1.0) == 0.0
    assert np.isnan(star(lost=0.0, saved=0.0))
