"""One trial: settings, and what a simulation with them says, also where there can be none.

The classes of failure are those of SLO-Guard (Lysenstoen, 2026), as a simulator can tell them: out of memory is what
the memory sum refuses, invalid what the scenario refuses, too slow what has not ended after the time a trial may take.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simulator.errors import DoesNotFitError, InputError, StallError
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import Goal
from simulator.studies.points import Point, numbers_of
from simulator.studies.study_file import setting

TrialClass = Literal["kept", "missed", "out of memory", "invalid", "too slow"]
CRASHES: tuple[TrialClass, ...] = ("out of memory", "invalid", "too slow")
CRASH_VIOLATION = 100.0  # of a trial that failed; the most that any has
END_S = "end_of_run_s"  # of a trial, simulated seconds


@dataclass(frozen=True)
class TunedTrial:
    """What a trial found."""

    number: int  # 0: the scenario as it is
    settings: Mapping[str, Any]
    place: Mapping[str, float]  # of the settings in the search space
    outcome: TrialClass
    reason: str  # in a sentence; empty where all is kept
    score: float | None  # more is better; None for one that failed
    violation: (
        float  # share of the bound by which the target is missed that is missed most; 0 where all are kept
    )
    numbers: Mapping[str, Any]

    @property
    def crashed(self) -> bool:
        """Whether there is nothing to measure."""
        return self.outcome in CRASHES

    @property
    def feasible(self) -> bool:
        """Whether it ran and keeps all targets."""
        return self.outcome == "kept"


@dataclass(frozen=True)
class Judge:
    """What trials are judged by: the number that shall be best, and the targets that shall be kept."""

    objective: str
    higher_is_better: bool
    goals: tuple[Goal, ...] = ()
    longest_s: float | None = None  # seconds after which a trial that has not served all is too slow

    def judged(
        self, number: int, settings: Mapping[str, Any], place: Mapping[str, float], found: Mapping[str, Any]
    ) -> TunedTrial:
        """Return a trial with its class, from the numbers or the ``error`` of its simulation."""
        if "error" in found:
            return TunedTrial(
                number, settings, place, found["crash"], found["error"], None, CRASH_VIOLATION, {}
            )
        if self.longest_s is not None and found[END_S] >= self.longest_s:
            reason = f"has not served all of its traffic after {self.longest_s:g} s"
            return TunedTrial(number, settings, place, "too slow", reason, None, CRASH_VIOLATION, found)
        value = found.get(self.objective)
        if value is None or not math.isfinite(value):
            reason = f"its summary has no {self.objective}"
            return TunedTrial(number, settings, place, "invalid", reason, None, CRASH_VIOLATION, found)
        margins = {goal: goal.margin(found.get(goal.metric)) for goal in self.goals}
        worst = min(margins, key=lambda goal: margins[goal], default=None)
        violation = 0.0 if worst is None else min(max(0.0, -margins[worst]), CRASH_VIOLATION)
        reason = ""
        if worst is not None and violation > 0:
            got = found.get(worst.metric)
            reason = f"misses {worst}: {'none' if got is None else format(got, '.4g')}"
        score = value if self.higher_is_better else -value
        return TunedTrial(
            number, settings, place, "missed" if reason else "kept", reason, score, violation, found
        )

    def best(self, trials: Sequence[TunedTrial]) -> TunedTrial | None:
        """Return the first of the best that keep all, else of those that miss least; None where all failed."""
        ran = [trial for trial in trials if trial.score is not None]
        return min(ran, key=self.rank, default=None)

    @staticmethod
    def rank(trial: TunedTrial) -> tuple[float, float]:
        """Return what is least for the best trial."""
        return trial.violation, -(trial.score if trial.score is not None else -math.inf)


def point_of(
    base: Scenario, base_dir: Path | None, settings: Mapping[str, Any], longest_s: float | None, seed: int
) -> Point | dict[str, Any]:
    """Return the simulation of a trial, or what is wrong with its settings, as ``simulate`` says it."""
    overrides = [setting(key, value) for key, value in settings.items()]
    if longest_s is not None:
        overrides.append(("run.horizon_s", longest_s))
    try:
        return Point(settings, seed, base.with_overrides([*overrides, ("seed", seed)]), base_dir)
    except InputError as error:
        return {"error": str(error).removeprefix("--set "), "crash": "invalid"}


def simulate(point: Point) -> dict[str, Any]:
    """Simulate; return the numbers, or ``error`` and the class ``crash`` of the failure."""
    from simulator.scenario.run import run

    try:
        result = run(point.scenario, base_dir=point.base_dir)
    except DoesNotFitError as error:
        return {"error": str(error), "crash": "out of memory"}
    except InputError as error:
        return {"error": str(error), "crash": "invalid"}
    except StallError as error:
        return {"error": str(error), "crash": "too slow"}
    except Exception as error:  # a policy of one's own may raise anything; the other trials go on
        return {"error": f"{type(error).__name__}: {error}", "crash": "invalid"}
    return {END_S: result.manifest[END_S], **numbers_of(result)}
