"""What each GPU type of a plan comes to: its cheapest cluster that keeps the target, or what is known instead."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.studies.plan.bounds import Judgement
from simulator.studies.plan.line import Line
from simulator.studies.plan.runs import CandidateOutcome, CandidateRuns
from simulator.studies.plan.search import Search
from simulator.studies.plan.space import PlanFile

if TYPE_CHECKING:
    from simulator.studies.plan.plan import FoundPlan, Place

HOURS_A_MONTH = 730  # 365 x 24 / 12
USD_PER_MILLION = "cost.usd_per_million_output_tokens"


@dataclass(frozen=True)
class OfGpu:
    """One GPU type: its cheapest candidate simulated whole that keeps the target, or the nearest, or neither."""

    gpu: str
    place: "Place | None"
    state: str  # keeps, misses, or why none was simulated
    least_usd_per_hour: float | None  # below which the bounds leave nothing of this type


def search_each(plan: PlanFile, judgements: dict[int, Judgement], runs: CandidateRuns) -> None:
    """Search for the cheapest candidate of every GPU type alone; what is found is in ``runs``."""
    for gpu in dict.fromkeys(line.gpu for line in plan.lines):
        alone = replace(plan, lines=[line for line in plan.lines if line.gpu == gpu])
        Search(alone, judgements, runs).best()


def by_gpu(found: "FoundPlan") -> list[OfGpu]:
    """Return a row a GPU type, those first that keep the target, the cheapest of them first."""
    rows = [_of(found, gpu) for gpu in dict.fromkeys(line.gpu for line in found.plan.lines)]

    def order(row: OfGpu) -> tuple[bool, float]:
        usd = row.least_usd_per_hour if row.place is None else found.usd_per_hour(row.place)
        return row.state != "keeps", usd if usd is not None else float("inf")

    return sorted(rows, key=order)


def _of(found: "FoundPlan", gpu: str) -> OfGpu:
    lines = [line for line in found.plan.lines if line.gpu == gpu]
    left = [line for line in lines if found.judgements[line.number].refused is None]
    least = min(_possible(found, left), default=None)
    whole = [place for place in found.simulated_whole() if place[0].gpu == gpu]
    keeping = [place for place in whole if _outcome(found, place).keeps]
    if keeping:
        chosen = min(
            keeping,
            key=lambda place: (found.usd_per_hour(place), place != found.best, -_margin(found, place)),
        )
        return OfGpu(gpu, chosen, "keeps", least)
    if whole:
        return OfGpu(gpu, max(whole, key=lambda place: _margin(found, place)), "misses", least)
    if not left:
        kinds = {found.judgements[line.number].kind for line in lines}
        return OfGpu(gpu, None, "does not fit" if kinds == {"fit"} else "refused by a bound", None)
    return OfGpu(gpu, None, "not simulated: dearer" if least is not None else "refused by a bound", least)


def _possible(found: "FoundPlan", lines: Iterable[Line]) -> Iterable[float]:
    for line in lines:
        counts = [n for n in line.counts if n >= found.judgements[line.number].least]
        if counts:
            yield line.usd_per_hour(counts[0])


def _outcome(found: "FoundPlan", place: "Place") -> CandidateOutcome:
    return found.runs.outcomes[place[0].number, place[1]]


def _margin(found: "FoundPlan", place: "Place") -> float:
    return float(_outcome(found, place).margin(found.plan.goals))
