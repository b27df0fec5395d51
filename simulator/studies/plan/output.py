"""What a plan leaves behind: a table of all candidates, plan.json, plan.toml to run, a picture of the front."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.report.style import save
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.scenario.scenario import Scenario
from simulator.stats import interval
from simulator.studies.plan.by_gpu import by_gpu
from simulator.studies.plan.goals import ELECTRICITY, ELECTRICITY_USD, PER_SECOND, TTFT_P99
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.picture import figure
from simulator.studies.plan.plan import FoundPlan, Place
from simulator.studies.plan.prices import name, with_electricity
from simulator.studies.plan.report import groups
from simulator.studies.plan.space import PlanFile
from simulator.studies.points import from_anywhere
from simulator.studies.table_files import write_table

if TYPE_CHECKING:
    import pyarrow as pa


def write(found: FoundPlan, out: Path) -> list[str]:
    """Write all files; return the names of those that there are (no plan.toml if nothing was simulated whole)."""
    names = write_table(table(found), out, "candidates")
    with whole(out / "plan.json") as part:
        part.write_text(json.dumps(summary(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    names.append("plan.json")
    if found.best is not None:
        with whole(out / "plan.toml") as part:
            part.write_text(runnable(found).to_toml(), encoding="utf-8")
        names.append("plan.toml")
    if found.simulated_whole():
        draw(found, out / "front.png")
        names.append("front.png")
    return names


def table(found: FoundPlan) -> "pa.Table":
    """Return a row a candidate: what it is, its price, its state and why, its numbers if simulated whole."""
    import pyarrow as pa

    plan, outcomes = found.plan, found.runs.outcomes
    keys = list(dict.fromkeys(key for line in plan.lines for key in line.settings))
    metrics = shown(plan)
    engines = {line.number: plan.engine(line) for line in plan.lines}
    mixed = any(line.kinds for line in plan.lines)
    rows: list[dict[str, Any]] = []
    for row in found.rows():
        line, outcome = row.line, outcomes.get((row.line.number, row.count))
        judgement = found.judgements[line.number]
        rows.append({
            "gpu": line.gpu, "tensor_parallel": line.tensor_parallel, "shape": line.shape, "policy": line.policy,
            "engine": engines[line.number],
            **{key: None if key not in line.settings else str(line.settings[key]) for key in keys},
            **({"hardware": line.hardware(row.count)} if mixed else {}),
            "replicas": row.count, "usd_per_hour": line.usd_per_hour(row.count),
            **_ranked(found, (line, row.count)), "state": row.state, "reason": row.reason,
            "least_replicas": judgement.least, "estimated_replicas": judgement.estimate,
            "simulated_part": None if outcome is None else outcome.part,
            "seeds": 0 if outcome is None else len(outcome.runs),
            "margin": _finite(None if outcome is None else outcome.margin(plan.goals)),
            **{metric: None if outcome is None else outcome.mean(metric) for metric in metrics},
        })  # fmt: skip
    return pa.table({key: pa.array([row[key] for row in rows]) for key in rows[0]})


def shown(plan: PlanFile) -> list[str]:
    """Return the numbers of a candidate that are written: those of the target, two that always are, and electricity."""
    asked = ELECTRICITY if plan.base.hardware.usd_per_kwh is not None else ()
    return list(dict.fromkeys([*(goal.metric for goal in plan.goals), PER_SECOND, TTFT_P99, *asked]))


def summary(found: FoundPlan) -> dict[str, Any]:
    """Return everything that is printed, ready for JSON."""
    plan, runs = found.plan, found.runs
    return {
        "name": plan.name,
        "user_model": plan.base.user.described,
        "target": [str(goal) for goal in plan.goals],
        "keeps": found.keeps,
        "plan": _place(found, found.best),
        "runner_up": _place(found, found.runner_up),
        "launch": launch_lines(found.chosen_scenario, plan.base_dir) if found.chosen_scenario and found.keeps else [],
        "front": [_place(found, place) for place in found.fronts()],
        "gpus": [
            {"gpu": row.gpu, "state": row.state, "least_usd_per_hour": row.least_usd_per_hour,
             "cluster": _place(found, row.place)}
            for row in by_gpu(found)
        ],
        "lost": groups(found),
        "robustness": [
            {
                "what": check.what, "keeps": check.keeps, "margin": _finite(check.margin),
                "numbers": {metric: each.mean for metric, each in check.numbers.items()}, "note": check.note,
            }
            for check in found.checks
        ],
        "candidates": plan.size,
        **({"beyond_budget": plan.beyond_budget} if plan.beyond_budget else {}),
        "seeds": runs.seeds,
        "simulations": {
            "search": found.search_simulations,
            "search_in_whole_lengths": found.search_whole_runs,
            "robustness": runs.simulations - found.search_simulations,
            "exhaustive": plan.size * runs.replications,
        },
    }  # fmt: skip


def runnable(found: FoundPlan) -> Scenario:
    """Return the plan's scenario with paths that do not depend on where it is read."""
    assert found.chosen_scenario is not None
    return from_anywhere(found.chosen_scenario, found.plan.base_dir, f"{found.plan.name}-plan")


def draw(found: FoundPlan, path: Path) -> None:
    """Write the picture of the fronts."""
    save(figure(found), path)


def _place(found: FoundPlan, place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    line, count = place
    outcome = found.runs.outcomes[line.number, count]
    numbers = {}
    for metric in shown(found.plan):
        values = [run[metric] for run in outcome.runs if run.get(metric) is not None]
        over = interval(values).within(*measure_of(metric).possible) if values else None
        numbers[metric] = None if over is None else {
            "mean": over.mean, "low": _finite(over.low), "high": _finite(over.high),
        }  # fmt: skip
    return {
        "name": name(place), "gpu": line.gpu, "tensor_parallel": line.tensor_parallel, "shape": line.shape,
        "policy": line.policy, "settings": dict(line.settings), "replicas": count, "gpus": line.gpus(count),
        "usd_per_hour": line.usd_per_hour(count), **_ranked(found, place), "keeps": outcome.keeps,
        "margin": _finite(outcome.margin(found.plan.goals)), "numbers": numbers,
    }  # fmt: skip


def _ranked(found: FoundPlan, place: Place) -> dict[str, float | None]:
    """Return the price that a plan with electricity is ranked by, of what was simulated whole."""
    if not with_electricity(found):
        return {}
    outcome = found.runs.outcomes.get((place[0].number, place[1]))
    known = outcome is not None and outcome.mean(ELECTRICITY_USD) is not None
    return {"usd_per_hour_with_electricity": found.usd_per_hour(place) if known else None}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
