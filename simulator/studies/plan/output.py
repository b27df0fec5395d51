"""What a plan leaves behind: a table of all candidates, plan.json, plan.toml to run, a picture of the front."""

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.report.style import BLACK, BLUE, GREEN, GREY, RED, axes, drawing, save
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.scenario.scenario import Scenario
from simulator.stats import interval
from simulator.studies.plan.by_gpu import by_gpu
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.plan import FoundPlan, Place
from simulator.studies.plan.prices import name
from simulator.studies.plan.report import groups

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILES = ("candidates.parquet", "candidates.csv", "plan.json", "plan.toml", "front.png")
LOWEST_SHOWN = 0.25  # of the largest smooth goodput, below 0
_PATHS = (
    "workload.trace", "workload.lengths", "workload.load",
    "hardware.gpu", "hardware.model", "cluster.prefill.gpu", "cluster.decode.gpu",
)  # fmt: skip


def write(found: FoundPlan, out: Path) -> list[str]:
    """Write all files; return the names of those that there are (no plan.toml if nothing was simulated whole)."""
    import pyarrow.parquet as pq

    rows = table(found)
    with whole(out / "candidates.parquet") as part:
        pq.write_table(rows, part)
    with whole(out / "candidates.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows.column_names)
        writer.writerows(zip(*(rows[key].to_pylist() for key in rows.column_names), strict=True))
    with whole(out / "plan.json") as part:
        part.write_text(json.dumps(summary(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    names = list(FILES[:3])
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
    metrics = list(dict.fromkeys([*(goal.metric for goal in plan.goals), PER_SECOND, TTFT_P99]))
    engines = {line.number: plan.engine(line) for line in plan.lines}
    rows: list[dict[str, Any]] = []
    for row in found.rows():
        line, outcome = row.line, outcomes.get((row.line.number, row.count))
        judgement = found.judgements[line.number]
        rows.append({
            "gpu": line.gpu, "tensor_parallel": line.tensor_parallel, "shape": line.shape, "policy": line.policy,
            "engine": engines[line.number],
            **{key: None if key not in line.settings else str(line.settings[key]) for key in keys},
            "replicas": row.count, "usd_per_hour": line.usd_per_hour(row.count), "state": row.state,
            "reason": row.reason, "least_replicas": judgement.least, "estimated_replicas": judgement.estimate,
            "simulated_part": None if outcome is None else outcome.part,
            "seeds": 0 if outcome is None else len(outcome.runs),
            "margin": _finite(None if outcome is None else outcome.margin(plan.goals)),
            **{metric: None if outcome is None else outcome.mean(metric) for metric in metrics},
        })  # fmt: skip
    return pa.table({key: pa.array([row[key] for row in rows]) for key in rows[0]})


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
    scenario = found.chosen_scenario
    assert scenario is not None
    tables = scenario.to_tables()
    for dotted in _PATHS:
        *sections, key = dotted.split(".")
        table: Any = tables
        for section in sections:
            table = table.get(section, {})
        value = table.get(key)
        path = (found.plan.base_dir or Path()) / value if isinstance(value, str) else None
        if path is not None and path.is_file():
            table[key] = str(path.resolve())
    return Scenario(**{**tables, "name": f"{found.plan.name}-plan"})


def draw(found: FoundPlan, path: Path) -> None:
    """Write the picture of the fronts."""
    save(figure(found), path)


def figure(found: FoundPlan) -> "Figure":
    """Draw price against smooth goodput and against p99 TTFT."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    with drawing():
        drawn, grid = axes(1, 2, width="text", height_in=2.9)
        left, right = grid[0]
        _panel(found, left, PER_SECOND, at_least=True)
        left.set_ylabel(measure_of(PER_SECOND).axis)
        _panel(found, right, TTFT_P99, at_least=False)
        right.set_ylabel(measure_of(TTFT_P99).axis)
        right.set_yscale("log")
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        right.yaxis.set_minor_locator(NullLocator())
        for goal in found.plan.goals:
            for ax, metric in ((left, PER_SECOND), (right, TTFT_P99)):
                if goal.metric == metric:
                    ax.axhline(
                        goal.bound, color=BLACK, linewidth=0.8, linestyle=":", label=f"target {goal.bound:g}"
                    )
        handles, labels = right.get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return drawn


def _panel(found: FoundPlan, ax: "Axes", metric: str, *, at_least: bool) -> None:
    places = [place for place in found.simulated_whole() if found.value(place, metric) is not None]

    def at(chosen: list[Place]) -> tuple[list[float], list[float]]:
        values = [found.value(place, metric) or math.nan for place in chosen]
        return [place[0].usd_per_hour(place[1]) for place in chosen], values

    keeping = [place for place in places if found.runs.outcomes[place[0].number, place[1]].keeps]
    missing = [place for place in places if place not in keeping]
    front = found.front(metric, at_least=at_least)
    ax.plot(*at(front), color=GREY, linewidth=0.9, drawstyle="steps-post", label="Pareto front", zorder=1)
    ax.scatter(*at(missing), color=RED, marker="x", s=18, linewidths=0.9, label="misses the target", zorder=2)
    ax.scatter(*at(keeping), color=BLUE, s=16, label="keeps the target", zorder=3)
    for place, colour, label in (
        (found.runner_up, GREEN, "runner-up"),
        (found.best, BLACK, "the plan" if found.keeps else "nearest"),
    ):
        if place is not None:
            ax.scatter(
                *at([place]),
                facecolors="none",
                edgecolors=colour,
                s=70,
                linewidths=1.2,
                label=label,
                zorder=4,
            )
    ax.set_xlabel("price (US$/hour)")
    values = [found.value(place, metric) or 0.0 for place in places]
    if (
        at_least and min(values) < -LOWEST_SHOWN * max(values) < 0
    ):  # what is far below 0 says no more than that
        ax.set_ylim(-LOWEST_SHOWN * max(values), 1.1 * max(values))
        ax.text(
            0.98, 0.02, f"lower values, to {min(values):,.0f}, are not shown",
            transform=ax.transAxes, ha="right", va="bottom", fontsize=6, color=GREY,
        )  # fmt: skip


def _place(found: FoundPlan, place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    line, count = place
    outcome = found.runs.outcomes[line.number, count]
    numbers = {}
    for metric in dict.fromkeys([*(goal.metric for goal in found.plan.goals), PER_SECOND, TTFT_P99]):
        values = [run[metric] for run in outcome.runs if run.get(metric) is not None]
        over = interval(values).within(*measure_of(metric).possible) if values else None
        numbers[metric] = None if over is None else {
            "mean": over.mean, "low": _finite(over.low), "high": _finite(over.high),
        }  # fmt: skip
    return {
        "name": name(place), "gpu": line.gpu, "tensor_parallel": line.tensor_parallel, "shape": line.shape,
        "policy": line.policy, "settings": dict(line.settings), "replicas": count,
        "usd_per_hour": line.usd_per_hour(count), "keeps": outcome.keeps,
        "margin": _finite(outcome.margin(found.plan.goals)), "numbers": numbers,
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
