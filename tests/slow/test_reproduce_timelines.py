"""The verdicts of figures 1, 2 and 10 follow from the token times, and turn round when these do."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.paper import fig1_limits, fig2_deadlines, fig10_timeline
from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import Study
from experiments.paper._timeline_runs import ENGINE, SETTINGS, cells, timeline_run
from simulator import run
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.report.style import drawing

V_S = PROTOCOL.reader.v_s_per_token
STEADY = 0.1 * np.arange(1, 61)  # never late at 0.2 s a token
STALLED = STEADY + np.where(np.arange(60) >= 30, 1.0, 0.0)  # 3 s ahead of its reader, then nothing for 1.1 s
STARVED = np.concatenate([[0.1, 0.2], 1.2 + 0.05 * np.arange(58)])  # TPOT 0.067 s, and the reader waits 0.6 s
LATE = STEADY + 2.0  # waits for its first token, not between tokens


class Made(Study):
    """Gives made-up token times instead of simulating, and draws without writing."""

    def __init__(self, out, times) -> None:
        super().__init__(out)
        self.times = times if callable(times) else lambda scenario: times

    def log(self, scenario):
        times = [each.tolist() for each in self.times(scenario)]
        return RequestLog.from_lists([0.0] * len(times), times)

    def each(self, scenarios, measure, what=None, *, label=""):
        return [measure(SimpleNamespace(log=self.log(scenario)), what) for scenario in scenarios]

    def simulate(self, scenarios, columns=(), *, label=""):
        pass

    def save(self, figure, name):
        figure.draw_without_rendering()


@pytest.fixture
def verdict(tmp_path):
    def found(experiment, times):
        with drawing():
            return experiment.run(Made(tmp_path, times))

    return found


def test_runs_are_the_protocols_and_go_on_until_all_answers_are_there(tmp_path):
    study = Study(tmp_path, quick=True)
    scenario = timeline_run(study, "trace", 0.98, 1, delivery={"name": "paced", "gap_s": 0.1})
    assert scenario.engine.profile == PROTOCOL.server.engines[ENGINE].profile
    assert scenario.policy.delivery.name == "paced"
    assert scenario.policy.scheduling.name == PROTOCOL.server.engines[ENGINE].scheduling["name"]
    assert run(scenario).log.completed.all()
    assert len(list(cells())) == len(SETTINGS.traffic) * len(SETTINGS.loads)


# Figure 1


def test_the_worked_examples_are_those_of_the_paper():
    fine, bad = fig1_limits.examples().values()
    assert np.count_nonzero(fine <= 1.0 + 1e-9) == 10
    assert np.diff(fine).max() == pytest.approx(1.0)
    assert np.all(fine <= 0.25 * np.arange(1, 22))
    assert bad[:3] == pytest.approx([0.1, 0.2, 1.2])
    assert np.diff(bad).max() == pytest.approx(1.0)
    assert (bad[-1] - bad[0]) / (len(bad) - 1) == pytest.approx(0.1)
    assert bad[2] > 0.25 * 3


def test_each_bound_misjudges_what_it_does_not_see():
    log = RequestLog.from_lists([0.0] * 4, [each.tolist() for each in (STEADY, STALLED, STARVED, LATE)])
    found = fig1_limits.misjudged(SimpleNamespace(log=log), {"it": UserModel(V_S)})["it"]
    assert found["tail TBT: condemned, never waited"] == 0.25  # STALLED
    assert found["TPOT: passed, waited"] == 0.25  # STARVED; LATE misses the bound on TTFT too
    assert found["tail TBT: passed, waited"] == found["TPOT: condemned, never waited"] == 0
    assert (found["wrong"], found["judged"]) == (0, 4)


def test_fig1_needs_both_mistakes_in_both_kinds_of_traffic(verdict):
    def only_in_trace(scenario):
        return [STALLED, STARVED] if scenario.workload.trace else [STEADY]

    both = verdict(fig1_limits, [STALLED, STARVED, STEADY])
    assert both.outcome == "reproduced"
    assert both.readings["clock from the first token"] == "reproduced"
    assert "alpha 10" not in both.readings  # it changes no deadline
    assert verdict(fig1_limits, [STALLED, STEADY]).outcome == "partly reproduced"
    assert verdict(fig1_limits, only_in_trace).outcome == "partly reproduced"
    assert verdict(fig1_limits, [STEADY, LATE]).outcome == "not reproduced"
    slow_and_short = [3 * STEADY, STEADY]  # both bounds condemn the one who waits
    assert verdict(fig1_limits, slow_and_short).outcome == "not reproduced"


def test_fig1_checks_deadlines_and_does_not_judge_by_them(verdict, monkeypatch):
    monkeypatch.setattr(fig1_limits, "meets_token_slo", lambda log, user: np.zeros(log.n, np.bool_))
    with pytest.raises(RuntimeError, match="d_i was wrong"):
        verdict(fig1_limits, [STALLED, STARVED])


# Figure 2


def test_fig2_needs_slack_that_carries_over_and_deadlines_that_are_missed(verdict):
    found = verdict(fig2_deadlines, [STALLED, STARVED])
    assert found.outcome == "reproduced"
    assert found.readings == {"clock from the first token": "reproduced"}
    # Without a gap above V, deadlines relative to the token before judge alike.
    assert verdict(fig2_deadlines, [STEADY, LATE]).outcome == "partly reproduced"
    assert verdict(fig2_deadlines, [STEADY, LATE]).readings == {
        "clock from the first token": "not reproduced"
    }


def test_fig2_checks_that_eq_2_is_the_stricter(verdict, monkeypatch):
    monkeypatch.setattr(fig2_deadlines, "meets_token_slo", lambda log, user: np.arange(log.n) > 0)
    with pytest.raises(RuntimeError, match="miss d_i and keep"):
        verdict(fig2_deadlines, [STEADY, STARVED])


def test_fig2_draws_the_median_of_those_that_keep_and_of_those_that_miss():
    keeping = [STEADY[:30] * each for each in (0.5, 0.7, 0.9, 1.0)]
    missing = [STEADY[:30] + each for each in (4.0, 2.0, 3.0)]
    long = [np.concatenate([STEADY, 6 + STEADY]) + 9]
    log = RequestLog.from_lists([0.0] * 8, [each.tolist() for each in [*keeping, *missing, *long]])
    assert fig2_deadlines.shown(log, UserModel(fig2_deadlines.V_S)) == (1, 6)
    with pytest.raises(RuntimeError, match="a request to draw"):
        fig2_deadlines.shown(log.rows(0, 3), UserModel(fig2_deadlines.V_S))


# Figure 10


def test_the_stalled_are_those_with_the_longest_time_between_tokens():
    times = [STEADY[:20]] * 200
    times[7], times[150] = STEADY[:20] + np.where(np.arange(20) >= 5, 2.0, 0.0), STALLED
    log = RequestLog.from_lists([0.0] * 200, [each.tolist() for each in times])
    first, second = fig10_timeline.stalls_of(log)
    assert (first.request, first.token, second.request, second.token) == (7, 4, 150, 29)
    assert first.longest_s == pytest.approx(2.1)
    changed = fig10_timeline.changed(log, log, [first, second])
    assert changed == pytest.approx((0, 0, 0))


def chunked(shorter=True, later_s=0.05, paced_shorter=True):
    """Three runs of a stalled request and a steady one, by scenario."""

    def times(scenario):
        noise = 0.001 * scenario.seed
        if scenario.policy.delivery.name == "paced":
            held = np.maximum.accumulate(np.maximum(STALLED, STALLED[-1] - 0.1 * np.arange(60)[::-1]))
            return [held + noise if paced_shorter else STALLED + noise, STEADY]
        whole = {PROTOCOL.server.engines[pair[0]].max_num_batched_tokens for pair in SETTINGS.engines}
        if scenario.engine.max_num_batched_tokens in whole:
            return [STALLED, STEADY]
        smooth = np.where(np.arange(60) >= 30, STALLED, STEADY + np.linspace(0, 1, 60))
        after = np.where(np.arange(60) >= 30, later_s + noise, 0.0)
        return [(smooth if shorter else STALLED) + after, STEADY]

    return times


def test_fig10_needs_shorter_gaps_and_tokens_that_are_not_earlier(verdict):
    found = verdict(fig10_timeline, chunked())
    assert found.outcome == "reproduced"
    assert found.readings["vLLM 0.24"] == "reproduced"
    assert found.readings["20 tokens/s, alpha 20"] == "reproduced"
    little = verdict(
        fig10_timeline, chunked(later_s=-0.1)
    )  # less than a reader of 5 tokens/s takes for a token
    assert (little.outcome, little.readings["20 tokens/s, alpha 20"]) == ("reproduced", "partly reproduced")
    assert verdict(fig10_timeline, chunked(later_s=-0.5)).outcome == "partly reproduced"
    assert verdict(fig10_timeline, chunked(paced_shorter=False)).outcome == "partly reproduced"
    assert verdict(fig10_timeline, chunked(shorter=False)).outcome == "not reproduced"


def test_fig10_checks_that_no_delayed_token_is_earlier(verdict):
    def earlier(scenario):
        return [STEADY if scenario.policy.delivery.name == "paced" else STALLED]

    with pytest.raises(RuntimeError, match="a delayed token comes earlier"):
        verdict(fig10_timeline, earlier)
