"""Simulations of a plan: candidates on a part of the traffic or on all of it; each result is kept at once."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import ELECTRICITY_USD, Goal, Whole, hopeless, margin
from simulator.studies.plan.line import Line
from simulator.studies.plan.space import PlanFile
from simulator.studies.points import Kept, Point, numbers_of, simulated
from simulator.studies.workers import Workers
from simulator.workload import Workload, build

if TYPE_CHECKING:
    from simulator.results.result import Result

PARTS = (0.125, 0.5, 1.0)  # shares of the requests; the last is the whole
FEWEST_IN_PART = 50  # requests; below, only whole runs
ENOUGH_TRIED, LEAST_SETTLED = (
    6,
    1 / 3,
)  # a part that settles fewer of at least so many tried is not tried again
REPLICATIONS = 3  # where the traffic is random and the plan file says nothing

Candidate = tuple[int, int]  # number of the line, replicas


@dataclass(frozen=True)
class Trial(Point):
    """One simulation: a candidate with one seed, on a part of its traffic or on all of it."""

    part: float = 1.0
    goals: tuple[Goal, ...] = ()  # what a part is judged by
    whole: Whole | None = None  # of a part: all the traffic

    @property
    def digest(self) -> str:
        """What its result is kept under; a whole run's does not depend on the target."""
        if self.whole is None:
            return super().digest
        return hashlib.sha256(f"{super().digest} {self.goals} {self.whole}".encode()).hexdigest()[:32]


def simulate(trial: Trial) -> dict[str, Any]:
    """Simulate; return the numbers of a whole run, which goals a part has missed for good, or an error."""

    def numbers(result: "Result") -> dict[str, Any]:
        if trial.whole is None:
            return numbers_of(result)
        part = (result.log, trial.whole, trial.scenario.user, trial.scenario.slo)
        return {"hopeless": [str(goal) for goal in trial.goals if hopeless(goal, *part)]}

    return simulated(trial, numbers)


@dataclass
class CandidateOutcome:
    """What simulations said of a candidate."""

    keeps: bool
    part: float  # the share of the traffic it was decided on
    runs: list[Mapping[str, Any]] = field(default_factory=list)  # numbers of whole runs, a seed each
    missed: tuple[str, ...] = ()  # goals
    error: str | None = None

    def mean(self, metric: str) -> float | None:
        """Return a number's mean over the seeds that were run whole; None where one lacks it, or none was run."""
        values = [run.get(metric) for run in self.runs]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def margin(self, goals: Sequence[Goal]) -> float:
        """Return by how much the goals are kept in the worst seed (< 0: missed); -inf without a whole run."""
        return min((margin(goals, run) for run in self.runs), default=-math.inf)


class CandidateRuns:
    """Simulates candidates, counts what it costs, and remembers."""

    def __init__(
        self,
        plan: PlanFile,
        kept: Kept,
        workers: Workers,
        on_done: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.plan, self.kept, self.workers, self.on_done = plan, kept, workers, on_done
        base = plan.base
        self._workloads: dict[str, Workload] = {}
        random = plan.replications is None and self.is_random()
        self.replications = plan.replications or (REPLICATIONS if random else 1)
        self.seeds = [base.seed + i for i in range(self.replications)]
        run = base.run
        seconds = not isinstance(base.metrics.window, str)
        in_parts = not (run.trim_warmup or run.trim_cooldown or run.horizon_s is not None or seconds)
        workload = self.workload(base)
        timed = workload.concurrency is None and workload.think_s is None
        self.parts = [
            part
            for part in PARTS
            if part == 1 or (in_parts and timed and part * len(workload) >= FEWEST_IN_PART)
        ]
        self.outcomes: dict[Candidate, CandidateOutcome] = {}
        self.simulations = 0  # results used, whether simulated now or kept from before
        self.whole_runs = 0.0  # the same in full lengths: shares of the requests added up
        self.computed = 0  # of the simulations: not kept from before
        self._expected = 0
        self._tried: Counter[float] = Counter()  # candidates on a part of the traffic
        self._settled: Counter[float] = Counter()  # of these, those for whom it was enough

    def usd_per_hour(self, line: Line, count: int) -> float:
        """Return what a candidate is ranked by: US$ an hour of its GPUs and, where priced, of their electricity.

        Electricity is known of those that were run whole; with it the sum is of whole cents, as printed.
        """
        outcome = self.outcomes.get((line.number, count))
        electricity = outcome.mean(ELECTRICITY_USD) if outcome else None
        gpus = line.usd_per_hour(count)
        return round(gpus + electricity, 2) if electricity else gpus

    def workload(self, scenario: Scenario) -> Workload:
        """Return the traffic of a scenario, built once."""
        key = json.dumps([scenario.workload.model_dump(mode="json"), scenario.seed])
        if key not in self._workloads:
            self._workloads[key] = build(
                scenario.workload, scenario.seed, self.plan.base_dir or self.plan.path.parent
            )
        return self._workloads[key]

    def is_random(self) -> bool:
        """Whether another seed changes the traffic, or what happens to it."""
        base = self.plan.base
        other = base.with_overrides([f"seed={base.seed + 1}"])
        one, two = self.workload(base), self.workload(other)
        if len(one) != len(two) or base.cluster.faults.mtbf_s is not None:
            return True
        alike = all(
            np.array_equal(getattr(one, name), getattr(two, name))
            for name in ("arrival_s", "prompt_tokens", "output_tokens")
        )
        asked = [base.policy.routing.name, *(line.settings.get("policy.routing") for line in self.plan.lines)]
        names = [each.get("name") if isinstance(each, Mapping) else each for each in asked]
        return not alike or "random" in names or "power_of_two" in names

    def trial(self, scenario: Scenario, values: Mapping[str, Any], seed: int, part: float) -> Trial:
        """Return the simulation of a scenario with another seed, on a part of its traffic."""
        scenario = scenario.with_overrides([f"seed={seed}"])
        # What a delivery of one's own does to the first tokens may depend on the last ones.
        if part == 1 or scenario.policy.delivery.name != "immediate":
            return Trial(values, seed, scenario, self.plan.base_dir)
        workload = self.workload(scenario)
        horizon_s = float(workload.arrival_s[math.ceil(part * len(workload)) - 1])
        if horizon_s <= float(workload.arrival_s[0]):  # they all come at once
            return Trial(values, seed, scenario, self.plan.base_dir)
        cut = scenario.with_overrides([f"run.horizon_s={horizon_s!r}"])
        goals, whole = tuple(self.plan.goals), Whole.of(workload)
        return Trial(values, seed, cut, self.plan.base_dir, part, goals, whole)

    def run(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """Return the results of simulations, those that are not kept simulated now."""
        found = [self.kept.get(trial) for trial in trials]
        missing = [i for i, each in enumerate(found) if each is None]
        self._expected = self.simulations + len(trials)
        self.on_done(self._expected - len(missing), self._expected)
        asked = {i: (trials[i],) for i in missing}
        for done, (i, result) in enumerate(self.workers.done(simulate, asked), 1):
            self.kept.put(trials[i], result)
            found[i] = result
            self.on_done(self._expected - len(missing) + done, self._expected)
        self.simulations += len(trials)
        self.computed += len(missing)
        self.whole_runs += sum(trial.part for trial in trials)
        return [each or {} for each in found]

    def decide(self, wanted: Iterable[tuple[Line, int, float]]) -> None:
        """Find out which candidates keep the target; each from the given part on, longer while in doubt.

        In a part and in the whole the first seed comes first; the others follow for those who keep it.
        """
        open_ = [
            (line, count, self._worthwhile(part))
            for line, count, part in wanted
            if (line.number, count) not in self.outcomes
        ]
        scenarios = {(line.number, count): self.plan.scenario(line, count) for line, count, _ in open_}
        while open_:
            trials = [
                self.trial(scenarios[line.number, count], _values(line, count), self.seeds[0], part)
                for line, count, part in open_
            ]
            later, keeping = [], []
            for (line, count, _), trial, result in zip(open_, trials, self.run(trials), strict=True):
                place = line.number, count
                if "error" in result:
                    self.outcomes[place] = CandidateOutcome(False, trial.part, error=result["error"])
                elif "hopeless" not in result:
                    missed = self._missed(result)
                    self.outcomes[place] = CandidateOutcome(not missed, 1.0, [result], missed)
                    keeping += [] if missed else [(line, count)]
                elif result["hopeless"]:
                    self.outcomes[place] = CandidateOutcome(
                        False, trial.part, missed=tuple(result["hopeless"])
                    )
                else:
                    later.append((line, count, trial.part))
                self._tried[trial.part] += 1
                self._settled[trial.part] += place in self.outcomes
            self._other_seeds(keeping, scenarios)
            open_ = [
                (line, count, self._worthwhile(min(other for other in self.parts if other > part)))
                for line, count, part in later
            ]

    def _worthwhile(self, least: float) -> float:
        """Return the shortest part from ``least`` on that has settled as many cases as its length asks for."""
        return next(
            part
            for part in self.parts
            if part >= least
            and (
                part == 1
                or self._tried[part] < ENOUGH_TRIED
                or self._settled[part] >= LEAST_SETTLED * self._tried[part]
            )
        )

    def complete(self, wanted: Iterable[tuple[Line, int]]) -> None:
        """Simulate candidates whole that were decided on a part of the traffic."""
        missing = [
            (line, count)
            for line, count in wanted
            if not (known := self.outcomes.get((line.number, count))) or not (known.runs or known.error)
        ]
        for line, count in missing:
            self.outcomes.pop((line.number, count), None)
        self.decide([(line, count, 1.0) for line, count in missing])

    def _other_seeds(
        self, keeping: Sequence[tuple[Line, int]], scenarios: Mapping[Candidate, Scenario]
    ) -> None:
        pairs = [(line, count, seed) for line, count in keeping for seed in self.seeds[1:]]
        trials = [
            self.trial(scenarios[line.number, count], _values(line, count), seed, 1.0)
            for line, count, seed in pairs
        ]
        for (line, count, _), result in zip(pairs, self.run(trials) if trials else [], strict=True):
            outcome = self.outcomes[line.number, count]
            if "error" in result:
                outcome.keeps, outcome.error = False, result["error"]
                continue
            outcome.runs.append(result)
            missed = self._missed(result)
            outcome.keeps &= not missed
            outcome.missed = tuple(dict.fromkeys([*outcome.missed, *missed]))

    def _missed(self, numbers: Mapping[str, Any]) -> tuple[str, ...]:
        goals = self.plan.goals
        return tuple(str(goal) for goal in goals if goal.margin(numbers.get(goal.metric)) < 0)


def _values(line: Line, count: int) -> dict[str, Any]:
    return {"line": line.number, "replicas": count}
