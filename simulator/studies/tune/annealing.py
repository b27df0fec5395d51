"""Thermal budget annealing: first find what keeps the targets, then what is better, and keep away from what fails.

Rules and constants are those of SLO-Guard (Lysenstoen, 2026); how far a step goes is ours, as it is given nowhere.
"""

import itertools
import math
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence

from simulator.studies.tune.space import Knob, SearchPlace, SearchSpace
from simulator.studies.tune.trials import TunedTrial

STARTS = 3  # trials by chance
HOTTEST, AGAIN_HOTTEST, FOUND_HOT, COLDEST = 1.0, 0.8, 0.7, 0.001  # temperatures
COOLED, HEATED, PATIENCE = 0.92, 2.5, 4  # when better; when as many were not
SWITCHED_FROM, SWITCHED_TO = 0.5, 0.25  # chance that one of the values in no order is switched
FAILURES, COOL_DOWN = 3, 8  # one after the other, then so many trials without
WIDEST, NARROWEST = 0.3, 0.02  # standard deviation of a step, share of a range; ours
VIOLATION_SCALE = 0.1  # share of a bound: by so much worse is taken as one unit of temperature
TRIES = 10


class Annealing:
    """Walks from one trial to one near it; takes a worse one by chance, the less the colder it is."""

    def __init__(self, space: SearchSpace, draw: random.Random, expected: float) -> None:
        """``expected`` is how many trials it will have at most."""
        self._space, self._draw, self._expected = space, draw, max(expected, 1.0)
        self._temperature, self._stalled = HOTTEST, 0
        self._told: list[TunedTrial] = []
        self._at: TunedTrial | None = None
        self._avoided = Avoided(tuple(knob for knob in space.knobs if knob.choices))

    def ask(self, count: int) -> list[SearchPlace]:
        """Return places by chance at first, then steps from where it is."""
        asked: list[SearchPlace] = []
        for i in range(count):
            first = len(self._told) + i < STARTS or self._at is None
            place = self._space.sample(self._draw) if first else self._step()
            asked.append(place)
        return asked

    def tell(self, trials: Sequence[TunedTrial]) -> None:
        """Move, cool or heat."""
        for trial in trials:
            self._told.append(trial)
            self._avoided.note(trial, len(self._told))
            if len(self._told) <= STARTS or self._at is None:
                self._begin()
            else:
                self._move(trial)

    def _begin(self) -> None:
        """Stand at the best so far: of those that keep all the best, else the one that misses least."""
        ran = [trial for trial in self._told if trial.score is not None]
        self._at = min(ran, key=lambda each: (each.violation, -(each.score or 0.0)), default=None)
        if self._at is not None and self._at.feasible:
            self._temperature = FOUND_HOT * HOTTEST

    def _move(self, trial: TunedTrial) -> None:
        at = self._at
        assert at is not None
        if trial.score is None or (at.feasible and not trial.feasible):
            self._heat(better=False)
            return
        if trial.feasible and not at.feasible:
            self._at, self._temperature, self._stalled = trial, FOUND_HOT * HOTTEST, 0
            return
        if at.feasible:
            assert at.score is not None
            worse = (at.score - trial.score) / self._spread()
        else:
            worse = (trial.violation - at.violation) / VIOLATION_SCALE
        if worse <= 0 or self._draw.random() < math.exp(-worse / self._temperature):
            self._at = trial
        self._heat(better=worse < 0)

    def _spread(self) -> float:
        scores = [trial.score for trial in self._told if trial.feasible and trial.score is not None]
        return max(max(scores) - min(scores), 1e-6) if len(scores) > 1 else 1.0

    def _heat(self, *, better: bool) -> None:
        if better:
            self._stalled = 0
            self._temperature *= COOLED
        else:
            self._stalled += 1
            if self._stalled >= PATIENCE:
                self._temperature = min(self._temperature * HEATED, AGAIN_HOTTEST * HOTTEST)
                self._stalled = 0
        self._temperature = max(self._temperature, COLDEST)

    def _step(self) -> SearchPlace:
        """Return a place near by that is not avoided, if one is found in ten tries."""
        place = self._near()
        for _ in range(TRIES - 1):
            if self._avoided.allows(place, len(self._told)):
                break
            place = self._near()
        return place

    def _near(self) -> SearchPlace:
        assert self._at is not None
        place = dict(self._at.place)
        choices = [knob for knob in self._space.knobs if knob.choices]
        ranges = [knob for knob in self._space.knobs if not knob.choices]
        done = min(len(self._told) / self._expected, 1.0)
        chance = SWITCHED_FROM + (SWITCHED_TO - SWITCHED_FROM) * done
        if choices and (not ranges or self._draw.random() < chance):
            knob = self._draw.choice(choices)
            others = [i for i in range(len(knob.choices)) if i != place[knob.key]]
            place[knob.key] = self._draw.choice(others)
            return place
        width = max(NARROWEST, WIDEST * self._temperature)
        for knob in self._draw.sample(ranges, k=self._draw.randint(1, min(2, len(ranges)))):
            place[knob.key] = _reflected(place[knob.key] + self._draw.gauss(0, width))
        return place


class Avoided:
    """Values in no order, and pairs of them, that failed or missed three times in a row; for a while."""

    def __init__(self, knobs: Sequence[Knob]) -> None:
        self._keys = [knob.key for knob in knobs]
        self._failures: dict[Hashable, int] = {}
        self._until: dict[Hashable, int] = {}

    def note(self, trial: TunedTrial, now: int) -> None:
        """Count on, or begin again, for all values that a trial has; ``now`` is how many trials there were."""
        for each in self._parts(trial.place):
            self._failures[each] = 0 if trial.feasible else self._failures.get(each, 0) + 1
            if self._failures[each] >= FAILURES:
                self._failures[each], self._until[each] = 0, now + COOL_DOWN

    def allows(self, place: SearchPlace, now: int) -> bool:
        """Whether it has none of them."""
        return all(self._until.get(each, 0) <= now for each in self._parts(place))

    def _parts(self, place: Mapping[str, float]) -> Iterator[Hashable]:
        values = [(key, place[key]) for key in self._keys]
        yield from values
        yield from itertools.combinations(values, 2)


def _reflected(at: float) -> float:
    """Return a share of a range, what goes beyond an end thrown back from it."""
    at = abs(at) % 2
    return 2 - at if at > 1 else at
