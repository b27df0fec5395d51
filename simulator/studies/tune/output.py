"""What a search leaves behind: a table of its trials, the best scenario to run, a picture, and one line."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.metrics import Measure
from simulator.report.measures import in_printed_unit, printed_unit
from simulator.report.style import save
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, amount
from simulator.report.text import number
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.scenario.toml import as_toml
from simulator.stats import Interval
from simulator.studies.points import from_anywhere
from simulator.studies.table_files import write_table
from simulator.studies.tune.picture import figure
from simulator.studies.tune.trials import CRASHES, TunedTrial
from simulator.studies.tune.tune import Checked, FoundSettings

if TYPE_CHECKING:
    import pyarrow as pa

BEST = "best.toml"
MOST_SHOWN = 8  # trials in the printed table


def write(found: FoundSettings, out: Path) -> list[str]:
    """Write all files; return the names of those that there are (no best.toml and picture if all trials failed)."""
    names = write_table(table(found), out, "tune")
    if found.best is None:
        return names
    scenario = from_anywhere(
        found.scenario(found.best), found.search.base_dir, f"{found.search.base.name}-best"
    )
    with whole(out / BEST) as part:
        part.write_text(scenario.to_toml(), encoding="utf-8")
    return [*names, BEST, *save(figure(found), out / "tune.png")]


def table(found: FoundSettings) -> "pa.Table":
    """Return a row a trial: its number, settings, class and reason, by how much it misses, its numbers."""
    import pyarrow as pa

    trials, keys = found.trials, [knob.key for knob in found.search.space.knobs]
    columns: dict[str, Any] = {"trial": pa.array([trial.number for trial in trials])}
    for key in keys:
        given = [trial.settings.get(key) for trial in trials]
        alike = len({type(value) for value in given if value is not None}) == 1
        columns[key] = pa.array(
            given if alike else [None if value is None else json.dumps(value) for value in given]
        )
    columns["class"] = pa.array([trial.outcome for trial in trials])
    columns["reason"] = pa.array([trial.reason or None for trial in trials], pa.string())
    columns["violation"] = pa.array([trial.violation for trial in trials])
    names = dict.fromkeys(name for trial in trials for name in trial.numbers)
    for name in names:
        values = [trial.numbers.get(name) for trial in trials]
        columns[name] = pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.table(columns)


def document(found: FoundSettings) -> Document:
    """Return what is printed: the best trials beside the scenario as it is, what failed, and what was found."""
    judge, keys = found.search.judge, [knob.key for knob in found.search.space.knobs]
    measure = measure_of(judge.objective)
    columns = [TableColumn("trial"), TableColumn(measure.label, printed_unit(measure))]
    columns += [TableColumn("targets", left=True, wraps=True)] if judge.goals else []
    columns += [TableColumn(key, left=True, wraps=True) for key in keys]
    first, *others = found.trials
    ran = sorted((trial for trial in others if trial.score is not None), key=judge.rank)[:MOST_SHOWN]
    rows: list[list[PrintedCell]] = []
    for trial in [*ran, first]:
        cells: list[PrintedCell] = [Amount(trial.number, str(trial.number) if trial.number else "as it is")]
        value = trial.numbers.get(judge.objective)
        cells.append(amount(None if trial.score is None else in_printed_unit(measure, value or 0.0)))
        cells += [trial.reason or "kept"] if judge.goals else []
        rows.append([*cells, *(_shown(trial, key) for key in keys)])
    return Document([Table(columns, rows), Words([*_failures(found), sentence(found)])])


def _shown(trial: TunedTrial, key: str) -> str:
    value = trial.settings.get(key)
    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value) if isinstance(value, float) else as_toml(value)


def _failures(found: FoundSettings) -> list[str]:
    """Count the trials that failed, by class, each with the first sentence of its kind."""
    count = Counter(trial.outcome for trial in found.trials if trial.crashed)
    lines = []
    for outcome in CRASHES:
        if count[outcome]:
            first = next(trial for trial in found.trials if trial.outcome == outcome)
            lines.append(
                f"{count[outcome]} of {len(found.trials)} {outcome}, such as trial {first.number}: {first.reason}"
            )
    return lines


def sentence(found: FoundSettings) -> str:
    """Say what was found, and how sure that is."""
    best, judge, trials = found.best, found.search.judge, len(found.trials) - 1
    if best is None:
        return f"all {trials} trials failed, and the scenario as it is, too: see reason in tune.csv"
    measure = measure_of(judge.objective)
    value = number(in_printed_unit(measure, best.numbers[judge.objective]))
    which = (
        "the scenario as it is"
        if best.number == 0
        else f"trial {best.number} of {trials} ({found.search.method})"
    )
    said = f"{'most' if judge.higher_is_better else 'least'} {measure.label}: {value} {printed_unit(measure)}".rstrip()
    said += f", {which}"
    if not best.feasible:
        said = f"no trial keeps all targets; nearest: {which}, which {best.reason}"
    return said if found.check is None else f"{said}; {_sure(found, found.check)}"


def _sure(found: FoundSettings, check: Checked) -> str:
    measure, best = measure_of(found.search.judge.objective), found.best
    unit = printed_unit(measure)
    if check.mean is None:
        return f"with {check.seeds} other seeds it failed each time"
    if check.one_trace:
        said = f"nothing is random: {check.seeds} other seeds give {_with_ends(measure, check.mean)} {unit}".rstrip()
    else:
        said = f"with {len(check.best)} other seeds {_with_ends(measure, check.mean)} {unit}".rstrip()
    if found.search.judge.goals:
        said += f", all targets kept with {check.kept} of {check.seeds}"
    difference = check.difference
    if best is None or best.number == 0:
        return said
    if difference is None:
        return f"{said}; the scenario as it is fails"
    less = f"{said}; {_with_ends(measure, difference)} {unit}".rstrip() + " from the scenario as it is"
    if not difference.known or difference.half == 0:
        return less
    shown = difference.above_zero or difference.below_zero
    return f"{less}, paired{'' if shown else ', no difference shown'}"


def _with_ends(measure: Measure, value: Interval) -> str:
    mean, low, high = (number(in_printed_unit(measure, each)) for each in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}]" if value.known and value.half > 0 else mean
