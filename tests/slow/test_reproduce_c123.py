"""The verdict of C1 follows from the data, and turns round when the data do."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context

from experiments.paper import c1_deadlines
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
