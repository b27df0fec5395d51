"""A search: batches of trials, each kept as soon as it is done, then a check of the best with other seeds.

Trials of a batch are chosen before any of them is simulated: what is tried follows from the seed and the size of the
batches alone, not from how many processes simulate or which is faster. A search that was cut short begins anew with the
same choices, and finds what it had simulated where it is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.vocabulary import MADE_BY_RUNS, known, measure_of
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired
from simulator.studies.plan.goals import PER_SECOND, parse_goals
from simulator.studies.points import Kept, Point
from simulator.studies.study_file import is_count
from simulator.studies.targets import read, there, unknown
from simulator.studies.tune.methods import METHODS, make
from simulator.studies.tune.space import SearchSpace
from simulator.studies.tune.trials import Judge, TunedTrial, point_of, simulate
from simulator.studies.workers import Workers

TRIALS, BATCH, CHECKS = 40, 4, 5
MOST_TRIALS = 100_000
OWN_FOLDER = "trials"  # one file a simulation


@dataclass(frozen=True)
class SettingsSearch:
    """What is searched, and how. Raises InputError, naming the option, for what cannot be."""

    base: Scenario
    base_dir: Path | None
    space: SearchSpace
    judge: Judge
    method: str = METHODS[0]
    trials: int = TRIALS  # beside the scenario as it is
    batch: int = BATCH  # chosen at once
    checks: int = CHECKS  # other seeds that the best and the scenario as it is are simulated with
    seed: int = 0  # of the choices

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"--method {self.method}: expected one of {', '.join(METHODS)}")
        for name, value in (("trials", self.trials), ("batch", self.batch)):
            if not is_count(value) or value > MOST_TRIALS:
                raise InputError(f"--{name} {value}: expected a whole number from 1 to {MOST_TRIALS:,}")
        if not 0 <= self.checks <= MOST_TRIALS:
            raise InputError(f"--checks {self.checks}: expected a whole number from 0 to {MOST_TRIALS:,}")
        self._check_keys()

    def _check_keys(self) -> None:
        """Raise InputError for a key of which no value is accepted: it is misspelt, or all of them are wrong."""
        for knob in self.space.knobs:
            tried = [knob.value(at) for at in (range(len(knob.choices)) if knob.choices else (0.0, 0.5, 1.0))]
            found = [point_of(self.base, self.base_dir, {knob.key: each}, None, 0) for each in tried]
            errors = [each["error"] for each in found if isinstance(each, dict)]
            if len(errors) == len(tried):
                raise InputError(f"--space {knob.key}: {errors[0]}")


def judge_of(
    base: Scenario, objective: str | None = None, target: Any = None, longest_s: float | None = None
) -> Judge:
    """Return what trials are judged by; raises InputError for numbers that no run of the scenario has."""
    names = there(known(base.user, base.slo, base.workload.class_bounds))
    wanted = read(objective or PER_SECOND, "--objective")
    if wanted.sign is not None:
        raise InputError(
            f"--objective {wanted.text}: expected a number without a bound; bounds are for --target"
        )
    if wanted.key not in names and not wanted.key.startswith(MADE_BY_RUNS):
        raise unknown(wanted.key, "--objective", names)
    goals = tuple(parse_goals(target, "--target", names)) if target else ()
    if longest_s is not None and not 0 < longest_s <= 1e9:
        raise InputError(f"--longest-s {longest_s:g}: expected seconds above 0, at most 1e9")
    if longest_s is not None and base.run.horizon_s is not None:
        raise InputError(
            f"--longest-s: the scenario ends at run.horizon_s = {base.run.horizon_s:g} itself; expected one of the two"
        )
    return Judge(wanted.key, measure_of(wanted.key).higher_is_better, goals, longest_s)


@dataclass(frozen=True)
class Checked:
    """The best and the scenario as it is with other seeds, one value of the objective a seed, where both ran."""

    best: Sequence[float]
    base: Sequence[float]  # none where the scenario as it is fails
    kept: int  # seeds with which the best keeps all targets
    seeds: int

    @property
    def one_trace(self) -> bool:
        """Whether seeds change nothing."""
        return len(set(self.best)) == 1 and len(self.best) > 1

    @property
    def difference(self) -> Interval | None:
        """The best less the scenario as it is, paired by seed; None where one of them is not known."""
        return paired(self.best, self.base) if self.base and self.best else None

    @property
    def mean(self) -> Interval | None:
        """The objective of the best."""
        return interval(self.best) if self.best else None


@dataclass(frozen=True)
class FoundSettings:
    """What a search found; ``trials`` begin with the scenario as it is, number 0."""

    search: SettingsSearch
    trials: Sequence[TunedTrial]
    best: TunedTrial | None
    check: Checked | None

    def scenario(self, trial: TunedTrial) -> Scenario:
        """Return the scenario of a trial that ran, without the bound on its time."""
        point = point_of(self.search.base, self.search.base_dir, trial.settings, None, self.search.base.seed)
        assert isinstance(point, Point)
        return point.scenario


def run_search(
    search: SettingsSearch, out: Path, workers: Workers, on_done: Callable[[int, int], None]
) -> FoundSettings:
    """Try, learn and check; ``on_done`` gets trials done and trials in all. What is done is in ``out`` at once."""
    kept, judge = Kept(out / OWN_FOLDER), search.judge
    method = make(search.method, search.space, search.trials, search.seed)
    total = 1 + search.trials + 2 * search.checks
    runs = SettingsRuns(search, kept, workers, lambda done: on_done(done, total))
    try:
        trials = [judge.judged(0, {}, {}, runs.of([{}], search.base.seed)[0])]
        while len(trials) <= search.trials:
            places = method.ask(min(search.batch, search.trials + 1 - len(trials)))
            settings = [search.space.values(place) for place in places]
            found = runs.of(settings, search.base.seed)
            told = [
                judge.judged(len(trials) + i, settings[i], place, found[i]) for i, place in enumerate(places)
            ]
            method.tell(told)
            trials += told
        best = judge.best(trials)
        check = _checked(search, runs, best) if best is not None and search.checks else None
    finally:
        workers.close()
    return FoundSettings(search, trials, best, check)


class SettingsRuns:
    """Simulates settings, what is not kept yet."""

    def __init__(
        self, search: SettingsSearch, kept: Kept, workers: Workers, on_done: Callable[[int], None]
    ) -> None:
        self._search, self._kept, self._workers, self._on_done = search, kept, workers, on_done
        self._done = 0

    def of(self, settings: Sequence[Mapping[str, Any]], *seeds: int) -> list[dict[str, Any]]:
        """Return what was found with each of the settings and each seed, those of one setting together."""
        search = self._search
        pairs = [(each, seed) for each in settings for seed in seeds]
        points = [
            point_of(search.base, search.base_dir, each, search.judge.longest_s, seed) for each, seed in pairs
        ]
        found = {i: each if isinstance(each, dict) else self._kept.get(each) for i, each in enumerate(points)}
        missing = {
            i: (point,) for i, point in enumerate(points) if isinstance(point, Point) and found[i] is None
        }
        self._step(len(points) - len(missing))
        for i, result in self._workers.done(simulate, missing):
            self._kept.put(missing[i][0], result)
            found[i] = result
            self._step(1)
        return [found[i] or {} for i in range(len(points))]

    def _step(self, count: int) -> None:
        self._done += count
        self._on_done(self._done)


def _checked(search: SettingsSearch, runs: SettingsRuns, best: TunedTrial) -> Checked:
    """Simulate the best and the scenario as it is with other seeds: the best of many is partly luck."""
    judge, first = search.judge, search.base.seed + 1
    seeds = range(first, first + search.checks)
    both = [best.settings, {}]
    found = runs.of(both, *seeds)
    mine = [judge.judged(best.number, best.settings, best.place, each) for each in found[: len(seeds)]]
    base = [judge.judged(0, {}, {}, each) for each in found[len(seeds) :]]
    sign = 1 if judge.higher_is_better else -1
    scores = [sign * trial.score for trial in mine if trial.score is not None]
    others = [sign * trial.score for trial in base if trial.score is not None]
    whole = len(scores) == len(others) == len(seeds)
    return Checked(scores, others if whole else [], sum(trial.feasible for trial in mine), len(seeds))
