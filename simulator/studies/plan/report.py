"""A plan in words and tables for the terminal: the plan, what was close, why the others lost, what if."""

import math
from collections import Counter

from simulator.report.text import counted, number, table
from simulator.results.vocabulary import measure_of
from simulator.scenario.engines import one_line
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.plan import FoundPlan, Place, Row
from simulator.studies.plan.space import PlanFile

MOST_OF_FRONT = 12  # rows printed; all are in plan.json
_GROUPS = {
    "not fit": "does not fit",
    "bound": "refused by a bound",
    "missed": "simulated, missed the target",
    "inferred": "fewer replicas than one that missed",
    "dearer": "not cheaper: not simulated",
    "keeps": "keeps the target, but loses",
    "failed": "failed",
    "not tried": "not tried",
}


def name(place: Place) -> str:
    """Name a candidate."""
    return place[0].name(place[1])


def report(found: FoundPlan) -> str:
    """Return everything that is printed."""
    parts = [_head(found), _plan(found), _front(found), _lost(found), _what_if(found), _launch(found)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def groups(found: FoundPlan) -> dict[str, dict[str, int]]:
    """Return how many candidates lost for which reason, by group."""
    counts: dict[str, Counter[str]] = {}
    for row in found.rows():
        if row.state in _GROUPS:
            counts.setdefault(row.state, Counter())[_reason(found, row)] += 1
    return {state: dict(counts[state].most_common()) for state in _GROUPS if state in counts}


def _reason(found: FoundPlan, row: Row) -> str:
    """Return a reason without the numbers that make each one its own."""
    if row.state == "missed":
        outcome = found.runs.outcomes[row.line.number, row.count]
        return "proved on a part of the traffic" if not outcome.runs else "with all of the traffic"
    if row.state == "inferred":
        return "more of the same miss the target"
    if row.state == "dearer" and row.reason.endswith("keep the target"):
        return "fewer of the same keep the target"
    if row.state == "bound":
        return (
            "the work needs more replicas" if row.reason.startswith("the work") else "too slow even when idle"
        )
    if row.state == "not fit":
        return f"{row.line.gpu}{f' TP{row.line.tensor_parallel}' if row.line.tensor_parallel > 1 else ''}"
    return row.reason


def engines(plan: PlanFile) -> dict[str, str]:
    """Return the engine of each policy by its name, with the profile where a plan tries several."""
    found = {}
    for line in plan.lines:
        profiles = [str(value) for key, value in line.settings.items() if key.endswith(".profile")]
        found[" with ".join([line.policy, *profiles])] = plan.engine(line)
    return found


def _head(found: FoundPlan) -> list[str]:
    plan, runs = found.plan, found.runs
    workload = runs.workload(plan.base)
    everything = plan.size * runs.replications
    used, whole = found.search_simulations, found.search_whole_runs
    seeds = "" if runs.replications == 1 else f", {runs.replications} seeds"
    return [
        f"{plan.name}: {plan.base.hardware.model}, {workload.source}",
        f"target: {' and '.join(map(str, plan.goals))}{' in every seed' if seeds else ''}",
        one_line(engines(plan)),
        f"user model: {plan.base.user.described}",
        f"space: {plan.size:,} candidates{seeds}; {used:,} simulations ({used / everything:.1%} of"
        f" {everything:,}), as long as {whole:.1f} whole ones ({whole / everything:.1%})",
    ]


def _plan(found: FoundPlan) -> list[str]:
    if found.best is None:
        return ["nothing in the space can be simulated with this traffic"]
    title = (
        "cheapest plan that keeps the target" if found.keeps else "nothing keeps the target; the nearest is"
    )
    lines = [f"{title}: {_priced(found.best)}"]
    rows = [["", "value", "target", "margin", ""]]
    outcome = found.runs.outcomes[found.best[0].number, found.best[1]]
    margins = [
        min((goal.margin(run.get(goal.metric)) for run in outcome.runs), default=-math.inf)
        for goal in found.plan.goals
    ]
    for goal, margin in zip(found.plan.goals, margins, strict=True):
        bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g}"
        binds = "binds" if len(margins) > 1 and margin == min(margins) else ""
        rows.append([f"  {goal.metric}", number(outcome.mean(goal.metric)), bound, _percent(margin), binds])
    lines += table(rows)
    if found.runner_up is not None:
        extra = _usd(found.runner_up) / _usd(found.best) - 1
        lines.append(f"runner-up: {_priced(found.runner_up)}, {extra:+.0%}")
    line, count = found.best
    fewer = [n for n in line.counts if n < count and found.runs.outcomes.get((line.number, n))]
    if found.keeps and fewer:
        margin = found.runs.outcomes[line.number, fewer[-1]].margin(found.plan.goals)
        lines.append(f"one step fewer: {name((line, fewer[-1]))}: margin {_percent(margin)}")
    return lines


def _front(found: FoundPlan) -> list[str]:
    places = found.fronts()
    if not places:
        return []
    goodput, ttft = (measure_of(key).axis for key in (PER_SECOND, TTFT_P99))
    rows = [["Pareto front, of what was simulated whole", "$/hour", goodput, ttft, "target"]]
    for place in places[:MOST_OF_FRONT]:
        outcome = found.runs.outcomes[place[0].number, place[1]]
        rows.append([
            f"  {name(place)}", f"{_usd(place):.2f}", number(found.value(place, PER_SECOND)),
            number(found.value(place, TTFT_P99)), "kept" if outcome.keeps else "missed",
        ])  # fmt: skip
    more = len(places) - MOST_OF_FRONT
    return [*table(rows), *([f"  and {more} more: plan.json"] if more > 0 else [])]


def _lost(found: FoundPlan) -> list[str]:
    rows = [["why the others lost", "candidates"]]
    for state, reasons in groups(found).items():
        rows.append([f"  {_GROUPS[state]}", f"{sum(reasons.values()):,}"])
        rows += [[f"    {reason}", f"{count:,}"] for reason, count in list(reasons.items())[:4]]
    if found.plan.refused:
        rows.append(["  settings that do not go together (lines)", f"{found.plan.refused:,}"])
    if len(rows) == 1:
        return []
    unfit = next((row.reason for row in found.rows() if row.state == "not fit"), None)
    return [*table(rows), *([f"  for example: {unfit}"] if unfit else []), *_misses(found)]


def _misses(found: FoundPlan) -> list[str]:
    """Say by how much those missed that were simulated whole, by kind of hardware."""
    worst: dict[str, list[float]] = {}
    for place in found.simulated_whole():
        outcome = found.runs.outcomes[place[0].number, place[1]]
        if not outcome.keeps and place != found.best:
            size = f" TP{place[0].tensor_parallel}" if place[0].tensor_parallel > 1 else ""
            kind = f"{place[0].replicas(place[1])} x {place[0].gpu}{size}"
            worst.setdefault(kind, []).append(outcome.margin(found.plan.goals))
    if not worst:
        return []
    rows = [["  missed by (of the bound, worst goal)", "nearest", "farthest", "candidates"]]
    for kind, margins in sorted(worst.items(), key=lambda each: -max(each[1]))[:8]:
        rows.append([f"    {kind}", _percent(max(margins)), _percent(min(margins)), f"{len(margins)}"])
    return table(rows)


def _what_if(found: FoundPlan) -> list[str]:
    if not found.checks:
        return []
    metrics = [goal.metric for goal in found.plan.goals]
    rows = [["what if", "target", "margin", *metrics]]
    for check in found.checks:
        said = "not tried" if check.keeps is None else "kept" if check.keeps else "missed"
        cells = []
        for metric in metrics:
            over = check.numbers.get(metric)
            cells.append("-" if over is None else over.text(".4g") if over.known else number(over.mean))
        rows.append([f"  {check.what}", said, _percent(check.margin), *cells])
    notes = [f"  {check.what}: {check.note}" for check in found.checks if check.note]
    if found.runs.replications > 1:
        known = any(over.known for check in found.checks for over in check.numbers.values())
        seeds = f"  means over {found.runs.replications} seeds"
        notes.append(
            f"{seeds}, intervals each for itself" if known else f"{seeds}, which give the same: one trace"
        )
    return [*table(rows), *notes]


def _launch(found: FoundPlan) -> list[str]:
    scenario = found.chosen_scenario
    if scenario is None or not found.keeps:
        return []
    return ["launch", *(f"  {line}" for line in launch_lines(scenario, found.plan.base_dir))]


def _usd(place: Place) -> float:
    return place[0].usd_per_hour(place[1])


def _priced(place: Place) -> str:
    pools = place[0].tensor_parallel * place[1]
    return f"{name(place)}, ${_usd(place):.2f} an hour, {counted(pools, 'GPU')}"


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "-"
    return f"{share:+.1%}" if abs(share) < 1 else f"{share:+,.0%}"
