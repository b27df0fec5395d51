"""What a run says of its engine steps, whether they were kept or gone through while it went on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simulator.arrays import Columns
from simulator.results.folded_tokens import FoldedTokens
from simulator.results.folding import Fold
from simulator.results.scoring import Scoring
from simulator.results.step_totals import StepSums, StepTotals, add_up, bin_edges, one_by_one
from simulator.results.tables import Tables
from simulator.scenario.resolve import ResolvedPool
from simulator.scenario.scenario import Scenario

STEPS_AT_ONCE = 1 << 14  # of a replica


class StepFigures:
    """Totals of the steps of all replicas, and how many of them the cost model was measured for."""

    def __init__(self, pools: Sequence[ResolvedPool]) -> None:
        """Have gone through no steps."""
        self._cost_of = [each.cost for each in pools for _ in range(each.places)]
        self._blocks = np.repeat([each.usable_blocks for each in pools], [each.places for each in pools])
        self._begin()

    def _begin(self) -> Callable[[int, Columns], None]:
        """Have gone through no steps; return what is to be told of them, some of a replica at a time."""
        self._sums = StepSums(self._blocks)
        self._busy_s, self._outside_s = np.zeros(len(self._blocks)), np.zeros(len(self._blocks))
        self._to_come: dict[int, list[Columns]] = {}
        return self._see

    def _see(self, replica: int, steps: Columns) -> None:
        """Look at steps in pieces that are the same whenever and however many of them come."""
        mine = self._to_come.setdefault(replica, [])
        mine.append(steps)
        if sum(len(each["end_s"]) for each in mine) < STEPS_AT_ONCE:
            return
        joined = _joined(mine)
        whole = len(joined["end_s"]) // STEPS_AT_ONCE * STEPS_AT_ONCE
        for first in range(0, whole, STEPS_AT_ONCE):
            self._look(replica, {name: each[first : first + STEPS_AT_ONCE] for name, each in joined.items()})
        self._to_come[replica] = [{name: each[whole:].copy() for name, each in joined.items()}]

    def _look(self, replica: int, steps: Columns) -> None:
        self._sums.add(replica, steps)
        self._add(replica, steps)

    def fold(self, scenario: Scenario) -> Fold:
        """Return what goes through a run's tokens while that goes on, and shows its steps here."""
        window = scoring(scenario).window
        return Fold(scenario.user.reading, window.rule == "arrivals", self._begin)

    def look_at(self, tables: Tables) -> None:
        """Go through the steps of a run, or those that are left where that was done while it went on."""
        if isinstance(tables.unfolding, FoldedTokens):
            for replica, mine in self._to_come.items():
                self._look(replica, _joined(mine))
            return
        prior_tokens = tables.prefill_prior_tokens()
        for replica, steps in tables.steps_by_replica():
            self._add(replica, {**steps, "prefill_prior_tokens": prior_tokens[replica]})

    def steps(self, tables: Tables) -> dict[str, Any] | StepTotals:
        """Return the steps where they were kept, else their totals."""
        if tables.steps:
            return {name: column for name, column in tables.steps.items() if name != "ticks"}
        if isinstance(tables.unfolding, FoldedTokens):
            return self._sums.totals()
        edges_s = bin_edges(tables.requests["arrival_s"], tables.requests["end_s"])
        return add_up(tables.steps_by_replica(), self._blocks, edges_s)

    @property
    def extrapolated_share(self) -> float:
        """Share of the busy time that is spent in steps outside of what the cost model was measured on."""
        busy_s = one_by_one(self._busy_s)
        return one_by_one(self._outside_s) / busy_s if busy_s else 0.0

    def _add(self, replica: int, steps: Columns) -> None:
        lasted_s = steps["end_s"] - steps["start_s"]
        self._busy_s[replica] += lasted_s.sum()
        self._outside_s[replica] += lasted_s[self._cost_of[replica].outside_measured_range(steps)].sum()


def _joined(steps: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([each[name] for each in steps]) for name in steps[0]}


def needs_tokens_once(scenario: Scenario, pools: Sequence[ResolvedPool]) -> bool:
    """Whether a scenario's summary needs each token once, and does not need to know then when the run ends."""
    by = scoring(scenario)
    once = not (by.also or scenario.workload.classes or any(each.name for each in pools))
    any_end = by.user.unserved != "wait_to_end" and not (by.window.warmup or by.window.cooldown)
    no_steps = scenario.run.trace_level == "summary" and scenario.hardware.usd_per_kwh is None
    return once and any_end and isinstance(by.window.rule, str) and no_steps


def scoring(scenario: Scenario) -> Scoring:
    """Return by what the scenario has the run scored."""
    return Scoring.of(scenario.model_dump(mode="json"))
