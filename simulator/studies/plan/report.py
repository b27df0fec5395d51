"""A plan in words and tables for the terminal: the plan, what was close, why the others lost, what if."""

import math
from collections import Counter

from simulator.report.measures import in_printed_unit, printed_unit
from simulator.report.tables import (
    Amount,
    Document,
    PrintedCell,
    PrintedPart,
    Table,
    TableColumn,
    Words,
    amount,
    count,
)
from simulator.report.text import number
from simulator.report.validated import corners, unvalidated
from simulator.results.vocabulary import measure_of
from simulator.scenario.engines import one_line
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.line import ReplicaKind
from simulator.studies.plan.plan import FoundPlan, Row
from simulator.studies.plan.prices import (
    electricity,
    gpu_table,
    longer,
    margin_text,
    name,
    price_cells,
    price_columns,
    priced,
)
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


def report(found: FoundPlan) -> Document:
    """Return everything that is printed, the plan first."""
    parts = [
        _plan(found),
        _launch(found),
        gpu_table(found),
        _front(found),
        _what_if(found),
        _lost(found),
        _head(found),
    ]
    source = found.runs.workload(found.plan.base).source
    title = Words([f"{found.plan.name}: {found.plan.base.hardware.model}, {source}"], "title")
    return Document([title, *(part for each in parts for part in each)])


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
        return " + ".join(map(str, row.line.kinds or [ReplicaKind(row.line.gpu, row.line.tensor_parallel)]))
    return row.reason


def engines(plan: PlanFile) -> dict[str, str]:
    """Return the engine of each policy by its name, with the profile where a plan tries several."""
    found = {}
    for line in plan.lines:
        profiles = [str(value) for key, value in line.settings.items() if key.endswith(".profile")]
        found[" with ".join([line.policy, *profiles])] = plan.engine(line)
    return found


def _head(found: FoundPlan) -> list[PrintedPart]:
    plan, runs = found.plan, found.runs
    everything = plan.size * runs.replications
    used, whole = found.search_simulations, found.search_whole_runs
    seeds = "" if runs.replications == 1 else f", {runs.replications} seeds"
    return [
        Words(
            [
                f"target: {' and '.join(map(str, plan.goals))}{' in every seed' if seeds else ''}",
                one_line(engines(plan)),
                f"user model: {plan.base.user.described}",
                f"space: {plan.size:,} candidates{seeds}; {used:,} simulations ({used / everything:.1%} of"
                f" {everything:,}), as long as {whole:.1f} whole ones ({whole / everything:.1%})",
            ]
        )
    ]


def _plan(found: FoundPlan) -> list[PrintedPart]:
    if found.best is None:
        return [Words(["nothing in the space can be simulated with this traffic"], "warning")]
    title = (
        "cheapest plan that keeps the target" if found.keeps else "nothing keeps the target; the nearest is"
    )
    outcome = found.runs.outcomes[found.best[0].number, found.best[1]]
    margins = [
        min((goal.margin(run.get(goal.metric)) for run in outcome.runs), default=-math.inf)
        for goal in found.plan.goals
    ]
    rows: list[list[PrintedCell]] = []
    for goal, margin in zip(found.plan.goals, margins, strict=True):
        bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g}"
        binds = "yes" if len(margins) > 1 and margin == min(margins) else ""
        rows.append([goal.metric, amount(outcome.mean(goal.metric)), bound, margin_text(margin), binds])
    columns = [
        TableColumn("goal", left=True),
        TableColumn("value"),
        TableColumn("target", left=True),
        TableColumn("margin"),
        TableColumn("binds", left=True, rank=1),
    ]
    lines = []
    if found.runner_up is not None:
        extra = found.usd_per_hour(found.runner_up) / found.usd_per_hour(found.best) - 1
        lines.append(f"runner-up: {priced(found, found.runner_up)}, {extra:+.0%}")
    line, chosen = found.best
    lines += longer(found, found.best) + electricity(found, found.best)
    fewer = [n for n in line.counts if n < chosen and found.runs.outcomes.get((line.number, n))]
    if found.keeps and fewer:
        margin = found.runs.outcomes[line.number, fewer[-1]].margin(found.plan.goals)
        lines.append(f"one step fewer: {name((line, fewer[-1]))}: margin {margin_text(margin)}")
    head = Words([f"{title}: {priced(found, found.best)}"], "title")
    doubts = unvalidated(corners(found.plan.scenario(line, chosen), found.plan.base_dir))
    return [
        head,
        Table(columns, rows),
        *([Words(doubts, "warning")] if doubts else []),
        *([Words(lines)] if lines else []),
    ]


def _front(found: FoundPlan) -> list[PrintedPart]:
    places = found.fronts()
    if not places:
        return []
    goodput, ttft = measure_of(PER_SECOND), measure_of(TTFT_P99)
    columns = [
        TableColumn("Pareto front, of what was simulated whole", left=True, wraps=True),
        *price_columns(found),
        TableColumn(goodput.label, printed_unit(goodput), rank=2),
        TableColumn(ttft.label, printed_unit(ttft), rank=1),
        TableColumn("target", left=True),
    ]
    rows: list[list[PrintedCell]] = []
    for place in places[:MOST_OF_FRONT]:
        outcome = found.runs.outcomes[place[0].number, place[1]]
        values = [amount(in_printed_unit(each, found.value(place, each.key))) for each in (goodput, ttft)]
        rows.append([name(place), *price_cells(found, place), *values, "kept" if outcome.keeps else "missed"])
    more = len(places) - MOST_OF_FRONT
    return [Table(columns, rows), *([Words([f"and {more} more: plan.json"])] if more > 0 else [])]


def _lost(found: FoundPlan) -> list[PrintedPart]:
    rows: list[list[PrintedCell]] = []
    for state, reasons in groups(found).items():
        rows.append([_GROUPS[state], "", count(sum(reasons.values()))])
        rows += [["", reason, count(many)] for reason, many in list(reasons.items())[:4]]
    if found.plan.refused:
        rows.append(["settings that do not go together (lines)", "", count(found.plan.refused)])
    if found.plan.beyond_budget:
        rows.append(["beyond the budget, not in the space", "", count(found.plan.beyond_budget)])
    if not rows:
        return []
    columns = [
        TableColumn("why the others lost", left=True, wraps=True),
        TableColumn("", left=True, wraps=True),
        TableColumn("candidates"),
    ]
    unfit = next((row.reason for row in found.rows() if row.state == "not fit"), None)
    return [Table(columns, rows), *([Words([f"for example: {unfit}"])] if unfit else []), *_misses(found)]


def _misses(found: FoundPlan) -> list[PrintedPart]:
    """Say by how much those missed that were simulated whole, by kind of hardware."""
    worst: dict[str, list[float]] = {}
    for place in found.simulated_whole():
        outcome = found.runs.outcomes[place[0].number, place[1]]
        if not outcome.keeps and place != found.best:
            kind = place[0].hardware(place[1])
            worst.setdefault(kind, []).append(outcome.margin(found.plan.goals))
    rows: list[list[PrintedCell]] = [
        [kind, margin_text(max(margins)), margin_text(min(margins)), count(len(margins))]
        for kind, margins in sorted(worst.items(), key=lambda each: -max(each[1]))[:8]
    ]
    heads = ("nearest", "farthest", "candidates")
    columns = [TableColumn("missed by (of the bound, worst goal)", left=True), *map(TableColumn, heads)]
    return [Table(columns, rows)] if rows else []


def _what_if(found: FoundPlan) -> list[PrintedPart]:
    if not found.checks:
        return []
    names = [goal.metric for goal in found.plan.goals]
    rows: list[list[PrintedCell]] = []
    for check in found.checks:
        said = "not tried" if check.keeps is None else "kept" if check.keeps else "missed"
        cells: list[PrintedCell] = []
        for metric in names:
            over = check.numbers.get(metric)
            text = "-" if over is None else over.text(".4g") if over.known else number(over.mean)
            cells.append(Amount(None if over is None else over.mean, text))
        rows.append([check.what, said, margin_text(check.margin), *cells])
    columns = [
        TableColumn("what if", left=True, wraps=True),
        TableColumn("target", left=True),
        TableColumn("margin"),
        *(TableColumn(metric, rank=i + 1) for i, metric in enumerate(names)),
    ]
    notes = [f"{check.what}: {check.note}" for check in found.checks if check.note]
    if found.runs.replications > 1:
        known = any(over.known for check in found.checks for over in check.numbers.values())
        seeds = f"means over {found.runs.replications} seeds"
        notes.append(
            f"{seeds}, intervals each for itself" if known else f"{seeds}, which give the same: one trace"
        )
    return [Table(columns, rows), *([Words(notes)] if notes else [])]


def _launch(found: FoundPlan) -> list[PrintedPart]:
    scenario = found.chosen_scenario
    if scenario is None or not found.keeps:
        return []
    lines = [f"  {line}" for line in launch_lines(scenario, found.plan.base_dir)]
    return [Words(["launch", *lines], exact=True)]
