"""``servesim plan``: the cheapest cluster that keeps a target for a traffic, how sure that is, and why not others.

Says what the search found: states of all candidates, the front, and how the plan fares if things come out
differently. What simulates is ``runs.py``, what decides ``search.py``, what prints ``report.py`` and ``output.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulator.scenario.scenario import Scenario
from simulator.studies.plan.bounds import Judgement, MixJudge, judge
from simulator.studies.plan.by_gpu import search_each
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99
from simulator.studies.plan.line import Line
from simulator.studies.plan.robust import Check, checks
from simulator.studies.plan.runs import CandidateRuns
from simulator.studies.plan.search import Search
from simulator.studies.plan.space import PlanFile
from simulator.studies.plan.traffic import Requests, may_be_cached
from simulator.studies.points import Kept
from simulator.studies.workers import Workers

Place = tuple[Line, int]  # a line and how many replicas


@dataclass(frozen=True)
class Row:
    """What became of one candidate."""

    line: Line
    count: int
    state: str  # chosen, runner-up, keeps, missed, inferred, not fit, bound, dearer, failed
    reason: str


@dataclass
class FoundPlan:
    """What a search found."""

    plan: PlanFile
    runs: CandidateRuns
    judgements: dict[int, Judgement]
    best: Place | None  # keeps the target, or else is nearest to it
    keeps: bool
    runner_up: Place | None
    checks: list[Check]
    search_simulations: int
    search_whole_runs: float

    @property
    def chosen_scenario(self) -> Scenario | None:
        """The scenario of the plan."""
        return None if self.best is None else self.plan.scenario(*self.best)

    def rows(self) -> list[Row]:
        """Return what became of every candidate, in the order of the space."""
        return [self._row(line, count) for line in self.plan.lines for count in line.counts]

    def front(self, metric: str, *, at_least: bool) -> list[Place]:
        """Return the candidates simulated whole than which none as cheap is better in a metric, cheapest first."""
        values = {place: self.value(place, metric) for place in self.simulated_whole()}
        known = {
            place: (value if at_least else -value) for place, value in values.items() if value is not None
        }
        found: list[Place] = []
        for place in sorted(known, key=lambda each: (self.usd_per_hour(each), -known[each])):
            if not found or known[place] > known[found[-1]]:
                found.append(place)
        return found

    def fronts(self) -> list[Place]:
        """Return the two Pareto fronts in one, cheapest first: price against smooth goodput, and p99 TTFT."""
        both = {*self.front(PER_SECOND, at_least=True), *self.front(TTFT_P99, at_least=False)}
        return sorted(both, key=lambda place: (self.usd_per_hour(place), place[0].number))

    def usd_per_hour(self, place: Place) -> float:
        """Return the price by which a candidate was ranked, US$ an hour."""
        return self.runs.usd_per_hour(*place)

    def value(self, place: Place, metric: str) -> float | None:
        """Return a number of a candidate, mean over the seeds that were run whole."""
        return self.runs.outcomes[place[0].number, place[1]].mean(metric)

    def simulated_whole(self) -> list[Place]:
        """Return the candidates that were simulated with all of the traffic."""
        lines = {line.number: line for line in self.plan.lines}
        return [(lines[number], count) for (number, count), known in self.runs.outcomes.items() if known.runs]

    def _row(self, line: Line, count: int) -> Row:
        judgement = self.judgements[line.number]
        outcome = self.runs.outcomes.get((line.number, count))
        if outcome is not None and outcome.error is not None:
            return Row(line, count, "failed", outcome.error)
        if outcome is not None and outcome.keeps:
            if (line, count) == self.best:
                return Row(line, count, "chosen", "the cheapest found that keeps the target")
            state = "runner-up" if (line, count) == self.runner_up else "keeps"
            dearer = self.best is not None and self.usd_per_hour((line, count)) > self.usd_per_hour(self.best)
            return Row(
                line, count, state, "costs more" if dearer else "costs the same, with a smaller margin"
            )
        if outcome is not None:
            part = "" if outcome.part == 1 else f" already after {outcome.part:.3g} of the requests"
            return Row(line, count, "missed", f"misses {', '.join(outcome.missed)}{part}")
        if judgement.refused is not None:
            return Row(line, count, {"fit": "not fit"}.get(judgement.kind, "bound"), judgement.refused)
        if count < judgement.least:
            return Row(line, count, "bound", f"the work needs at least {judgement.least} replicas")
        more = [n for n in line.counts if n > count and self._missed(line, n)]
        if more:
            return Row(line, count, "inferred", f"{more[0]} such replicas miss the target")
        if self.keeps and self.best is not None:
            fewer = [n for n in line.counts if n < count and self._kept(line, n)]
            if fewer:
                return Row(line, count, "dearer", f"{fewer[0]} such replicas keep the target")
            same = line.usd_per_hour(count) <= self.usd_per_hour(self.best)
            return Row(
                line, count, "dearer", "costs the same; not compared" if same else "costs more than the plan"
            )
        return Row(line, count, "not tried", "nothing keeps the target with more replicas")

    def _missed(self, line: Line, count: int) -> bool:
        known = self.runs.outcomes.get((line.number, count))
        return known is not None and not known.keeps

    def _kept(self, line: Line, count: int) -> bool:
        known = self.runs.outcomes.get((line.number, count))
        return known is not None and known.keeps


def find(
    plan: PlanFile,
    out: Path,
    workers: Workers,
    on_done: Callable[[int, int], None] = lambda *_: None,
    *,
    robustness: bool = True,
    each_gpu: bool = False,
) -> FoundPlan:
    """Search; what is simulated is kept in ``out/points``, and taken from there the next time.

    ``on_done`` gets simulations done and simulations known to be needed. Without ``robustness`` the plan is not
    tried with other traffic; with ``each_gpu`` the cheapest candidate of every GPU type is searched for, too.
    """
    runs = CandidateRuns(plan, Kept(out / "points"), workers, on_done)
    judgements = judge_lines(plan, runs)
    search = Search(plan, judgements, runs)
    best = search.best()
    keeps = best is not None
    if best is None:
        best = search.nearest()
    runner_up = search.runner_up(best) if best is not None and keeps else None
    if best is not None and keeps:
        search.neighbours(best)
    if each_gpu:
        search_each(plan, judgements, runs)
    used, whole = runs.simulations, runs.whole_runs
    tried = checks(plan, runs, best, out) if robustness and best is not None and keeps else []
    return FoundPlan(plan, runs, judgements, best, keeps, runner_up, tried, used, whole)


def judge_lines(plan: PlanFile, runs: CandidateRuns) -> dict[int, Judgement]:
    """Return what is known of each line without simulating, by its number."""
    found: dict[int, Judgement] = {}
    known: dict[tuple[int, bool], Requests] = {}
    mixes: dict[str, MixJudge] = {}
    for line in plan.lines:
        kinds = str(line.overrides)  # alike in all ratios of a mix
        if line.ratio is not None and kinds in mixes:
            found[line.number] = mixes[kinds].judge(line.ratio, line.counts)
            continue
        smallest = plan.scenario(line, line.unit)
        workload = runs.workload(smallest)
        key = id(workload), may_be_cached(smallest, workload)
        if key not in known:
            known[key] = Requests(workload, key[1])
        if line.ratio is not None and line.kinds is not None:
            mixes[kinds] = MixJudge(smallest, plan.base_dir, plan.goals, known[key])
            found[line.number] = mixes[kinds].judge(line.ratio, line.counts)
        else:
            found[line.number] = judge(
                smallest, plan.base_dir, plan.goals, known[key], line.counts, line.unit
            )
    return found
