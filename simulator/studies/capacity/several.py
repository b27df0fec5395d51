"""The highest rate at which every one of several targets is kept, and which of them binds.

Each target has its own highest rate (``search.py``), so that of all together is the least of these. It is searched
for target by target: one that is kept at the end that was found before needs a few simulations and no search. With k
targets each answer has the confidence 1 - (1 - c)/k, so that all of them together have c (Bonferroni). An objective
(``best.py``) beside bounds is searched last, up to where they hold: it rises to one maximum, as assumed there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from simulator.errors import InputError
from simulator.scenario.engines import engine_names
from simulator.scenario.scenario import Scenario
from simulator.studies.capacity.best import best_rate
from simulator.studies.capacity.book import Answer, Ask, SearchPlan
from simulator.studies.capacity.outcome import CapacityOutcome, FoundNumbers, OneOfSeveral
from simulator.studies.capacity.scenario import CapacityRuns, ScaledTraffic
from simulator.studies.capacity.search import highest_rate
from simulator.studies.capacity.target import Target, check_target
from simulator.studies.workers import ALONE, Workers


@dataclass(frozen=True)
class CapacitySearch:
    """How to search: see the options of ``servesim capacity``."""

    within: float = 0.05
    confidence: float = 0.95
    requests: int | None = None
    most_requests: int | None = None
    most_simulations: int = 100
    workers: Workers = ALONE


@dataclass(frozen=True)
class _Searched:
    target: Target
    answer: Answer
    found: FoundNumbers
    plan: SearchPlan
    traffic: ScaledTraffic

    @property
    def rate(self) -> float:
        """The target's rate: 0 if it is missed wherever it was looked at, infinite if it is kept."""
        if self.answer.rate is not None:
            return self.answer.rate
        return 0.0 if self.answer.low is None and self.answer.high is not None else math.inf


def highest_rate_for_all(
    scenario: Scenario,
    base_dir: Path | None,
    targets: Sequence[Target],
    folder: Path,
    how: CapacitySearch,
    on_done: Callable[[int], None] = lambda _: None,
) -> CapacityOutcome:
    """Return the highest rate that keeps all targets; simulations are kept in ``folder``.

    ``on_done`` gets how many simulations there are. Raises InputError for targets that are none together, for traffic
    that has no rate, and for fewer simulations than a search needs.
    """
    _check(scenario, targets)
    found: list[_Searched] = []
    asked: set[Ask] = set()
    try:
        for target in sorted(targets, key=lambda each: each.bound is None):
            traffic = ScaledTraffic(scenario, base_dir, how.requests, compared=target.bound is None)
            for most_rate in _most_rates(found):
                made = len(asked)
                left = how.most_simulations - made
                plan = _plan(traffic, how, scenario.seed, len(targets), max(left, 0), most_rate, found)
                runs = CapacityRuns(traffic, target, folder, how.workers, partial(_count, on_done, made))
                answer = (
                    best_rate(runs, plan) if target.bound is None else highest_rate(runs, target.bound, plan)
                )
                if not answer.runs:
                    raise InputError(
                        f"--most-simulations {how.most_simulations}: too few to begin; expected 10 or more a target"
                    )
                asked |= set(answer.runs)
                searched = _Searched(target, answer, runs.found, plan, traffic)
                if answer.low is not None or answer.rate is not None:
                    break
            found.append(searched)
    finally:
        how.workers.close()
    return _together(scenario, base_dir, targets, found, how)


def _count(on_done: Callable[[int], None], made: int, done: int) -> None:
    on_done(made + done)


def _check(scenario: Scenario, targets: Sequence[Target]) -> None:
    for target in targets:
        check_target(target, scenario.user, scenario.slo, scenario.workload.class_bounds)
    texts = [target.text for target in targets]
    if len(set(texts)) < len(texts):
        raise InputError(
            f"--target {next(t for t in texts if texts.count(t) > 1)}: given twice; expected once"
        )
    objectives = [target.text for target in targets if target.bound is None]
    if len(objectives) > 1:
        raise InputError(
            f"--target {' and '.join(objectives)}: there is one best rate for each; expected bounds (<= or >=) beside"
            " one of them"
        )


def _most_rates(found: Sequence[_Searched]) -> list[float]:
    """Return up to which rate another target matters; the second, where nothing is shown at the first."""
    ends = [
        min((rate for each in found if (rate := getattr(each.answer, end)) is not None), default=math.inf)
        for end in ("high", "low")
    ]
    return list(dict.fromkeys(ends)) if math.isfinite(ends[0]) else [math.inf]


def _plan(
    traffic: ScaledTraffic, how: CapacitySearch, seed: int, targets: int, simulations: int, most_rate: float,
    found: Sequence[_Searched],
) -> SearchPlan:  # fmt: skip
    first = traffic.requests
    most = first if traffic.replayed else how.most_requests or 16 * first
    if most < first:
        raise InputError(f"--most-requests {most}: fewer than the first runs have; expected at least {first}")
    if not traffic.replayed:  # as long as the runs that are there: they are not made twice
        first = max([first, *(ask.requests for each in found for ask in each.answer.runs)])
    return SearchPlan(
        traffic.start, first, most, how.within, 1 - (1 - how.confidence) / targets, simulations, seed=seed,
        most_rate=min(traffic.most_rate, most_rate), by_time=not traffic.replayed,
    )  # fmt: skip


def _together(
    scenario: Scenario,
    base_dir: Path | None,
    targets: Sequence[Target],
    found: Sequence[_Searched],
    how: CapacitySearch,
) -> CapacityOutcome:
    """Return the answer of the target that binds, with the ends that hold for all."""
    binds = min(found, key=lambda each: each.rate)
    lows = [each.answer.low for each in found]
    low = min((each for each in lows if each is not None), default=None)
    if None in lows:  # one was not shown to hold anywhere
        low = None
    high = min((each.answer.high for each in found if each.answer.high is not None), default=None)
    answer = binds.answer
    if len(found) > 1:
        confidence = None if answer.confidence is None else how.confidence
        answer = replace(answer, low=low, high=high, confidence=confidence)
    others = [
        OneOfSeveral(each.target, each.answer.rate, each.answer.low, each.answer.high, each is binds)
        for target in targets
        for each in found
        if each.target is target
    ]
    plan = replace(binds.plan, most_rate=binds.traffic.most_rate, confidence=how.confidence)
    return CapacityOutcome(
        answer, binds.found, binds.target, plan, binds.traffic.of, binds.traffic.replayed,
        engine_names(scenario, base_dir), scenario.user.described, others if len(found) > 1 else [],
    )  # fmt: skip
