"""The search for the cheapest plan: bounds first, then simulations, as few and as short as decide the matter.

1. Lines that do not fit or that a bound refuses are out; the work bound says from how many replicas on a line is
   worth a simulation.
2. The ``FINALISTS`` kinds of hardware that the queueing estimate finds cheapest are taken up first: the number of
   replicas that keeps the target is bracketed from the estimate outwards and then bisected.
3. Every other line has to beat the cheapest plan known: it is tried with the most replicas that still cost less.
   If that misses the target, fewer replicas would too (assumed), and the line is out; if not, it is the plan to
   beat, and its line is bisected. Those expected to miss begin with an eighth of the traffic.
4. Candidates that cost the same as the winner and differ in policy or settings are compared by their margins.

Where electricity is priced, what is known of a candidate before its whole run is the price of its GPUs, so that all are
tried whose GPUs alone cost less than the cheapest plan with its electricity.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulator.studies.plan.bounds import Judgement
from simulator.studies.plan.goals import PER_SECOND
from simulator.studies.plan.line import Line
from simulator.studies.plan.runs import Candidate, CandidateOutcome, CandidateRuns
from simulator.studies.plan.space import PlanFile

FINALISTS = 4  # kinds of hardware that are bracketed first
BATCH = 8  # lines that are tried at once, whatever the number of cores: the result does not depend on it
TIES = 16  # candidates of the winner's price that are compared
BEST_OF = 16  # where nothing keeps the target: how many kinds of hardware, and then settings, are looked at
_ALIKE = 1 + 1e-9


@dataclass
class State:
    """What is known of a line: indices into its counts."""

    line: Line
    judgement: Judgement
    low: int  # the largest that does not keep the target; -1: none known
    high: int | None = None  # the smallest that is known to keep it
    steps: int = 0  # so far, of the search outwards from the estimate

    @property
    def estimate(self) -> int:
        """Index of the estimated number of replicas."""
        counts = self.line.counts
        return next((i for i, n in enumerate(counts) if n >= self.judgement.estimate), len(counts) - 1)

    @property
    def expected_usd(self) -> float:
        """Price of the estimated number of replicas, also beyond the space."""
        return self.line.usd_per_hour(self.judgement.estimate)

    def price(self, i: int) -> float:
        """US$ an hour of the i-th count, without electricity: it cannot cost less."""
        return self.line.usd_per_hour(self.line.counts[i])


class Search:
    """Looks for the cheapest candidate that keeps the target."""

    def __init__(self, plan: PlanFile, judgements: Mapping[int, Judgement], runs: CandidateRuns) -> None:
        self.plan, self.runs, self.goals = plan, runs, plan.goals
        self.judgements = judgements
        self.states = [
            State(line, known, sum(n < known.least for n in line.counts) - 1)
            for line in plan.lines
            if (known := judgements[line.number]).refused is None
        ]
        self.states.sort(key=lambda state: (state.expected_usd, state.line.number))
        self._decided_on: dict[
            tuple[object, ...], float
        ] = {}  # hardware and replicas -> part that was needed

    def best(self) -> tuple[Line, int] | None:
        """Return the cheapest candidate that keeps the target; among equals that with the largest margin."""
        self._bracket(self._finalists())
        self._refute()
        winner = self._cheapest()
        if winner is None:
            return None
        self._compare_equals(winner)
        return self._cheapest()

    def nearest(self) -> tuple[Line, int] | None:
        """Where nothing keeps the target: return the candidate that misses it least, of those simulated whole."""
        top = [(state.line, state.line.counts[-1]) for state in self.states]
        top += [  # a bound is no reason not to show how far it is
            (line, line.counts[-1])
            for line in self.plan.lines
            if self.judgements[line.number].kind == "bound"
        ]

        def promise(place: tuple[Line, int]) -> tuple[float, float, float]:
            known, judgement = self._outcome(place), self.judgements[place[0].number]
            dearest_gpus = place[0].usd_per_hour(place[1]) / sum(place[0].gpus(place[1]).values())
            return -(known.part if known else 0.0), judgement.estimate / place[1], -dearest_gpus

        kinds: dict[tuple[str, int, str], tuple[Line, int]] = {}
        for place in sorted(top, key=promise):
            kinds.setdefault(place[0].group, place)
        self.runs.complete(list(kinds.values())[:BEST_OF])
        best = self._best_of(top)
        if best is not None:
            alike = [place for place in top if place[0].group == best[0].group]
            self.runs.complete(alike[:BEST_OF])
        return self._best_of(top)

    def _best_of(self, places: Sequence[tuple[Line, int]]) -> tuple[Line, int] | None:
        """Return the best of those that were simulated whole."""
        whole = [place for place in places if (known := self._outcome(place)) and known.runs]
        return max(whole, key=self._merit, default=None)

    def runner_up(self, best: tuple[Line, int]) -> tuple[Line, int] | None:
        """Return the cheapest other hardware that was found to keep the target; else other settings."""
        by_number = {state.line.number: state for state in self.states}
        while True:
            others = [place for place in self._keeping() if place != best]
            elsewhere = [place for place in others if place[0].group != best[0].group]
            found = min(
                elsewhere or others,
                key=lambda place: (self.runs.usd_per_hour(*place), *(-each for each in self._merit(place))),
                default=None,
            )
            before = self.runs.simulations
            if found is not None and elsewhere:  # fewer of them may do
                self._bracket([by_number[found[0].number]], to_the_end=True)
            if self.runs.simulations == before:
                return found

    def neighbours(self, best: tuple[Line, int]) -> list[tuple[Line, int]]:
        """Simulate one step fewer and one more of the plan's replicas, whole; return those there are."""
        line, count = best
        at = line.counts.index(count)
        beside = [(line, line.counts[i]) for i in (at - 1, at + 1) if 0 <= i < len(line.counts)]
        self.runs.complete(beside)
        return beside

    def _finalists(self) -> list[State]:
        found: dict[tuple[str, int, str], State] = {}
        for state in self.states:
            found.setdefault(state.line.group, state)
        return list(found.values())[:FINALISTS]

    def _bracket(self, states: Sequence[State], *, to_the_end: bool = False) -> None:
        """Find the least count of each that keeps the target, in growing steps from its estimate outwards.

        Unless told to go on to the end, a line is left as soon as it can no longer be the cheapest.
        """
        while True:
            least_usd = self._least_usd()
            dearest = 2 * least_usd  # a runner-up is welcome, at any price it is not
            wanted: list[tuple[State, int, float]] = []
            for state in states:
                last = len(state.line.counts) - 1
                if state.high is not None:
                    beats = state.price(state.low + 1) * _ALIKE < least_usd
                    if state.high - state.low > 1 and (beats or to_the_end):
                        at = max((state.low + state.high) // 2, state.high - 2**state.steps)
                        wanted.append((state, at, self._first_part(state, at)))
                elif state.low < last and state.price(state.low + 1) <= dearest:
                    at = state.low + 2 ** (state.steps - 1) if state.steps else state.estimate
                    wanted.append((state, min(max(at, state.low + 1), last), 1.0))
            if not wanted:
                return
            self._try(wanted)

    def _refute(self) -> None:
        """Try every line with the most replicas that cost less than the cheapest plan; take up those that keep."""
        while True:
            usd = self._least_usd()
            wanted: list[tuple[State, int, float]] = []
            for state in self.states:
                below = [i for i in range(len(state.line.counts)) if state.price(i) * _ALIKE < usd]
                if not below or below[-1] <= state.low:
                    continue
                if state.high is not None and state.high <= below[-1]:
                    at = (state.low + state.high) // 2
                else:
                    at = below[-1]
                if at > state.low:
                    wanted.append((state, at, self._first_part(state, at)))
            if not wanted:
                return
            self._try(wanted[:BATCH])

    def _compare_equals(self, winner: tuple[Line, int]) -> None:
        usd = self.runs.usd_per_hour(*winner)
        equals = [
            (state, i, 1.0)
            for state in self.states
            for i in range(state.low + 1, len(state.line.counts))
            if usd / _ALIKE <= state.price(i) <= usd * _ALIKE
            and (state.line.number, state.line.counts[i]) not in self.runs.outcomes
        ]
        equals.sort(key=lambda each: (each[0].line.group != winner[0].group, each[0].expected_usd))
        self._try(equals[:TIES])

    def _first_part(self, state: State, at: int) -> float:
        """Return the part to begin with: the one that decided alike hardware, else the shortest."""
        known = self._decided_on.get((state.line.group, state.line.counts[at]))
        return self.runs.parts[0] if known is None else known

    def _try(self, wanted: Sequence[tuple[State, int, float]]) -> None:
        self.runs.decide([(state.line, state.line.counts[at], part) for state, at, part in wanted])
        for state, at, _ in wanted:
            count = state.line.counts[at]
            outcome = self.runs.outcomes[state.line.number, count]
            state.steps += 1
            key = (state.line.group, count)
            self._decided_on[key] = max(outcome.part, self._decided_on.get(key, 0.0))
            if outcome.keeps:
                state.high = at if state.high is None else min(state.high, at)
            else:
                state.low = max(state.low, at)

    def _keeping(self) -> list[tuple[Line, int]]:
        by_number = {line.number: line for line in self.plan.lines}
        return [
            (by_number[number], count)
            for (number, count), known in self.runs.outcomes.items()
            if known.keeps and number in by_number
        ]

    def _least_usd(self) -> float:
        return min((self.runs.usd_per_hour(*place) for place in self._keeping()), default=math.inf)

    def _cheapest(self) -> tuple[Line, int] | None:
        usd = self._least_usd() * _ALIKE
        alike = [place for place in self._keeping() if self.runs.usd_per_hour(*place) <= usd]
        return max(alike, key=self._merit, default=None)

    def _outcome(self, place: tuple[Line, int]) -> CandidateOutcome | None:
        candidate: Candidate = place[0].number, place[1]
        return self.runs.outcomes.get(candidate)

    def _known(self, place: tuple[Line, int]) -> CandidateOutcome:
        return self.runs.outcomes[place[0].number, place[1]]

    def _merit(self, place: tuple[Line, int]) -> tuple[float, ...]:
        """Margins in whole %, the least first; then smooth goodput, then the order of the space."""
        outcome = self._known(place)
        margins = sorted(
            min((goal.margin(run.get(goal.metric)) for run in outcome.runs), default=-math.inf)
            for goal in self.goals
        )
        rounded = [round(each, 2) if math.isfinite(each) else each for each in margins]
        return *rounded, outcome.mean(PER_SECOND) or -math.inf, -place[0].number
