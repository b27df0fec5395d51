"""What a sweep leaves behind: one table of all points, and pictures of what depends on what."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.metrics import Measure
from simulator.report.keys import key_name
from simulator.report.measures import family, in_printed_unit, printed_unit, shown
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, amount
from simulator.report.text import number
from simulator.results.vocabulary import MADE_BY_RUNS, known, measure_of
from simulator.scenario.engines import engine_names, one_line
from simulator.stats import Interval, interval
from simulator.studies.plan.goals import Goal, parse_goals
from simulator.studies.points import Point
from simulator.studies.sweep import figures as sweep_figures
from simulator.studies.sweep.sweep import Study
from simulator.studies.table_files import write_table
from simulator.studies.targets import there, unknown

if TYPE_CHECKING:
    import pyarrow as pa

Results = Sequence[tuple[Point, Mapping[str, Any]]]


def metrics(study: Study) -> dict[str, str]:
    """Return what is printed and drawn of a study, with labels.

    Raises InputError for a metric that no summary has; ``engine.`` and ``cost.`` depend on the run, and are let pass.
    """
    if not study.metrics:  # the usual ones, first what all is about
        chosen = sorted(shown("sweep"), key=lambda each: family(each) != "smooth_goodput")
    else:
        chosen = [measure_of(name) for name in study.metrics]
        first = study.points()[0].scenario
        names = there(known(first.user, first.slo, first.workload.class_bounds))
        for each in chosen:
            if each.key not in names and not each.key.startswith(MADE_BY_RUNS):
                raise unknown(each.key, f"{study.path}: metrics", names)
    return {each.key: each.axis for each in chosen}


def goals(study: Study) -> list[Goal]:
    """Return what each point shall keep; InputError for what is no bound on a number of a run."""
    if not study.target:
        return []
    first = study.points()[0].scenario
    return parse_goals(
        study.target, str(study.path), there(known(first.user, first.slo, first.workload.class_bounds))
    )


def _missed(wanted: Sequence[Goal], runs: Sequence[Mapping[str, Any]]) -> str:
    """Name the goal that is missed most, in the seed that misses it most; nothing where all seeds keep all."""
    margins = {goal: min(goal.margin(run.get(goal.metric)) for run in runs) for goal in wanted}
    worst = min(margins, key=lambda goal: margins[goal])
    return str(worst) if margins[worst] < 0 else ""


def table(study: Study, results: Results) -> "pa.Table":
    """Return a row a point: the axes' values, the seed, every number of its summary, its error if it failed."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for _, found in results for name in found if name != "error"))
    columns: dict[str, Any] = {}
    for key in study.keys:
        given = [point.place([key])[0] for point, _ in results]
        alike = len({type(value) for value in given}) == 1
        columns[key] = pa.array(given if alike else [str(value) for value in given])
    columns["engine"] = pa.array([engine_names(point.scenario, point.base_dir) for point, _ in results])
    columns["user_model"] = pa.array([point.scenario.user.described for point, _ in results])
    columns["seed"] = pa.array([point.seed for point, _ in results])
    if wanted := goals(study):
        columns["target_missed"] = pa.array(
            [_missed(wanted, [found]) or None for _, found in results], pa.string()
        )
    columns["error"] = pa.array([found.get("error") for _, found in results], pa.string())
    for name in names:
        columns[name] = pa.array([_number(found.get(name)) for _, found in results], pa.float64())
    return pa.table(columns)


def write(study: Study, results: Results, out: Path) -> list[str]:
    """Write sweep.parquet and sweep.csv, and the pictures; return the files' names."""
    names = write_table(table(study, results), out, "sweep")
    return [
        *names,
        *sweep_figures.draw(study, drawn(study, results), out, headline(study, results)),
    ]


def headline(study: Study, results: Results) -> str:
    """Say in which place the first metric is best."""
    first = measure_of(next(iter(metrics(study))))
    means = {place: value.mean for place, value in by_point(study, results, first.key).items()}
    if not means:
        return study.name
    best = (max if first.higher_is_better else min)(means, key=lambda place: means[place])
    named = zip(study.shown, best, strict=True)
    at = ", ".join(
        str(value) if key == "name" else f"{key_name(key).partition(' (')[0]} {value}" for key, value in named
    )
    which = "most" if first.higher_is_better else "least"
    shown = number(in_printed_unit(first, means[best]))
    return f"{study.name}: {which} {first.label}, {shown} {printed_unit(first)}, at {at}"


def drawn(study: Study, results: Results) -> dict[str, tuple[str, sweep_figures.CellMeans]]:
    """Return what is drawn of a study: by the picture's name, the label and the metric at each place."""
    return {
        _file(metric): (label, by_point(study, results, metric)) for metric, label in metrics(study).items()
    }


def printed(study: Study, results: Results) -> Document:
    """Return a table of the chosen metrics, a row a place; with several seeds, each with its 95 % interval.

    That is half of its width, or both ends where one of them is as far as the metric goes. Where all seeds give
    the same there is none.
    """
    chosen = [measure_of(key) for key in metrics(study)]
    values = [by_point(study, results, each.key) for each in chosen]
    wanted, at = goals(study), _by_place(study, results)
    columns = [TableColumn(key, left=True, wraps=True) for key in study.shown]
    columns += [TableColumn(each.label, printed_unit(each), rank=i) for i, each in enumerate(chosen)]
    if wanted:
        columns.append(TableColumn("target", left=True, wraps=True))
    rows: list[list[PrintedCell]] = []
    for place, found in at.items():
        judged = [f"missed: {missed}" if (missed := _missed(wanted, found)) else "kept"] if wanted else []
        cells = [_cell(each, over.get(place)) for each, over in zip(chosen, values, strict=True)]
        rows.append([*map(str, place), *cells, *judged])
    engines = {
        " ".join(map(str, point.place(study.shown))): engine_names(point.scenario, point.base_dir)
        for point, _ in results
    }
    readers = dict.fromkeys(point.scenario.user.described for point, _ in results)
    lines = _over_seeds(study, results) if study.replications > 1 else []
    lines += [f"user model: {' | '.join(readers)}"] if readers else []
    lines += [one_line(engines)] if engines else []
    return Document([Table(columns, rows), Words(lines)])


def _cell(measure: Measure, value: Interval | None) -> Amount:
    if value is None:
        return Amount(None, number(None))
    mean, low, high = (in_printed_unit(measure, each) for each in (value.mean, value.low, value.high))
    if not value.known or value.half == 0:
        return amount(mean)
    if math.isclose(value.mean - value.low, value.high - value.mean, abs_tol=1e-12):
        half = in_printed_unit(measure, value.half)
        return Amount(mean, f"{number(mean)} ±{float(f'{half:.2g}'):,g}")
    return Amount(mean, f"{number(mean)} [{number(low)}, {number(high)}]")


def _over_seeds(study: Study, results: Results) -> list[str]:
    """Say what the numbers behind the means are, and where there are none because the seeds change nothing."""
    at = _by_place(study, results)
    alike = [place for place, found in at.items() if _one_trace(found)]
    if len(alike) == len(at):
        return [
            f"one trace, no spread: nothing here is random, and all {study.replications} seeds give the same"
        ]
    said = f"means over {study.replications} seeds, ± half of a 95 % interval (or its ends), each for itself"
    if not alike:
        return [said]
    return [said, f"one trace, no spread: the seeds change nothing in {len(alike)} of {len(at)} rows"]


def by_point(study: Study, results: Results, metric: str) -> dict[tuple[Any, ...], Interval]:
    """Return a metric at each place: mean over seeds with its 95 % interval; failed runs left out.

    A place is a point's values of the keys that are shown (``Study.shown``). The interval holds no impossible value,
    and has no ends where the seeds change nothing.
    """
    means = {}
    for place, found in _by_place(study, results).items():
        given = [_number(each.get(metric)) for each in found]
        values = [value for value in given if value is not None and math.isfinite(value)]
        if values:
            over = interval(values[:1] if _one_trace(found) else values)
            means[place] = over.within(*measure_of(metric).possible)
    return means


def _by_place(study: Study, results: Results) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    at: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for point, found in results:
        at.setdefault(point.place(study.shown), []).append(found)
    return at


def _one_trace(found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all seeds gave the very same."""
    return all(each == found[0] for each in found)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _file(metric: str) -> str:
    return (
        metric.replace(".", "_")
        if metric.startswith(("latency.", "idle_latency."))
        else metric.rpartition(".")[2]
    )
