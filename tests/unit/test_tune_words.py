"""How sure a search is of what it found, in words; what it is not asked; trials that give no number."""

import math
from dataclasses import replace

import pytest

from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import PER_SECOND
from simulator.studies.points import Point
from simulator.studies.tune.output import sentence
from simulator.studies.tune.trials import Judge, TunedTrial, simulate
from simulator.studies.tune.tune import Checked, FoundSettings, judge_of
from tests.unit.test_tune import JUDGE, search

BEST = TunedTrial(3, {}, {}, "kept", "", 900.0, 0.0, {PER_SECOND: 900.0})
FIRST = TunedTrial(0, {}, {}, "kept", "", 500.0, 0.0, {PER_SECOND: 500.0})


@pytest.mark.parametrize(
    ("best", "check", "said"),
    [
        (BEST, Checked([], [], 0, 5), "with 5 other seeds it failed each time"),
        (
            BEST,
            Checked([900.0] * 3, [500.0] * 3, 3, 3),
            "nothing is random: 3 other seeds give 900.0 tokens/s, all targets kept with 3 of 3;"
            " 400.0 tokens/s from the scenario as it is",
        ),
        (
            BEST,
            Checked([880.0, 920.0], [], 2, 5),
            ", all targets kept with 2 of 5; the scenario as it is fails",
        ),
        (
            BEST,
            Checked([880.0, 920.0], [900.0, 890.0], 2, 2),
            " from the scenario as it is, paired, no difference shown",
        ),
        (BEST, Checked([880.0, 920.0, 905.0], [500.0, 540.0, 524.0], 3, 3), " from the scenario as it is, paired"),
        (FIRST, Checked([880.0, 920.0], [880.0, 920.0], 2, 2), ", all targets kept with 2 of 2"),
    ],
)  # fmt: skip
def test_how_sure_it_is(best, check, said):
    text = sentence(FoundSettings(search(), [FIRST, BEST, BEST, BEST], best, check))
    assert text.startswith(f"most smooth goodput: {best.numbers[PER_SECOND]:.1f} tokens/s, ")
    assert text.endswith(said)


def test_without_targets_none_are_kept():
    free = replace(search(), judge=Judge(PER_SECOND, True, ()))
    found = FoundSettings(free, [FIRST, BEST], BEST, Checked([880.0, 920.0], [500.0, 540.0], 2, 2))
    assert "targets" not in sentence(found)


@pytest.mark.parametrize(
    ("horizon_s", "objective", "longest_s", "said"),
    [
        (None, "ttft_p99 <= 3", None, "expected a number without a bound; bounds are for --target"),
        (
            9.0,
            None,
            4.0,
            "--longest-s: the scenario ends at run.horizon_s = 9 itself; expected one of the two",
        ),
    ],
)
def test_what_is_asked_twice(horizon_s, objective, longest_s, said):
    with pytest.raises(InputError) as error:
        judge_of(Scenario(run={"horizon_s": horizon_s}), objective, None, longest_s)
    assert said in str(error.value)


@pytest.mark.parametrize("found", [{}, {PER_SECOND: math.nan}])
def test_a_trial_without_its_number_is_invalid(found):
    trial = JUDGE.judged(1, {}, {}, found)
    assert (trial.outcome, trial.score) == ("invalid", None)
    assert trial.reason == f"its summary has no {PER_SECOND}"


def test_a_trial_that_stands_still_is_too_slow_and_one_that_breaks_is_invalid(tmp_path):
    head = 'from simulator.policy import Scheduler\nclass Mine(Scheduler):\n    """Of a test."""\n'
    crashes = {}
    for name, does in (("still", "pass"), ("breaks", "raise RuntimeError('no')")):
        (tmp_path / f"{name}.py").write_text(f"{head}    def plan(self, step):\n        {does}\n")
        scenario = Scenario(
            policy={"scheduling": str(tmp_path / f"{name}.py")},
            workload={"arrivals": "burst", "requests": 2, "prompt_tokens": 9, "output_tokens": 2},
        )
        crashes[name] = simulate(Point({}, 0, scenario, None))
    assert crashes["still"]["crash"] == "too slow"
    assert "never schedules" in crashes["still"]["error"]
    assert crashes["breaks"]["crash"] == "invalid"
    assert "RuntimeError: no" in crashes["breaks"]["error"]
