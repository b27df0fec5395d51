"""``servesim.compare``: several scenarios on the same traffic, side by side."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.functions.found import FoundTable
from simulator.functions.inputs import (
    ScenarioLike,
    Settings,
    axis,
    check_count,
    ignore,
    named,
    read_scenario,
)
from simulator.report import comparison as shown
from simulator.report.comparison_picture import comparison_figure
from simulator.report.measures import shown as measures
from simulator.report.report import Summary, warnings
from simulator.report.same_traffic import traffic_notes
from simulator.report.tables import Document, Words
from simulator.report.text import number
from simulator.results.result import Result
from simulator.results.vocabulary import numbers
from simulator.scenario.engines import engine_names, one_line
from simulator.scenario.scenario import Scenario
from simulator.studies.study_file import setting

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

Chosen = tuple[Scenario, Path | None]  # with the folder that its paths begin at


class ComparisonResult(FoundTable):
    """Runs of the same traffic, all measured for the reader, targets and window of the first."""

    def __init__(
        self,
        chosen: Mapping[str, Chosen],
        results: Sequence[Sequence[Result]],
        summaries: Sequence[Sequence[Summary]],
        notes: Sequence[str],
    ) -> None:
        """Results and summaries have a row a scenario, in it one a seed."""
        self.chosen, self.notes = dict(chosen), list(notes)
        self.names = list(chosen)
        self.results = dict(zip(self.names, map(list, results), strict=True))
        self.summaries = dict(zip(self.names, map(list, summaries), strict=True))

    @cached_property
    def table(self) -> "pa.Table":
        """A row a run: scenario, seed, every number of its summary by dotted key (null: there is none)."""
        import pyarrow as pa

        rows = [
            (name, seed, dict(numbers(summary)))
            for name, (scenario, _) in self.chosen.items()
            for seed, summary in enumerate(self.summaries[name], scenario.seed)
        ]
        keys = list(dict.fromkeys(key for _, _, found in rows for key in found))
        columns: dict[str, Any] = {
            "scenario": pa.array([name for name, _, _ in rows]),
            "seed": pa.array([seed for _, seed, _ in rows]),
        }
        for key in keys:
            values = [found.get(key) for _, _, found in rows]
            columns[key] = pa.array([None if each is None else float(each) for each in values], pa.float64())
        return pa.table(columns)

    def figure(self) -> "Figure":
        """Return the picture of all: what each was worth and how it differs from the first, and latencies.

        Shown in a notebook; ``servesim compare --plot`` writes it.
        """
        runs = list(self.summaries.values())
        reader = next(iter(self.chosen.values()))[0].user
        return comparison_figure(self.names, [each[0] for each in self.results.values()], runs, reader)

    def document(self) -> Document:
        """Return what the command prints."""
        runs = list(self.summaries.values())
        seeds = len(runs[0])
        found = (
            shown.over_seeds(self.names, runs)
            if seeds > 1
            else shown.comparison(self.names, [r[0] for r in runs])
        )
        engines = {name: engine_names(*chosen) for name, chosen in self.chosen.items()}
        reader = next(iter(self.chosen.values()))[0].user.described
        return found + Document([Words([f"user model: {reader}", one_line(engines)])])

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        columns = measures("ranking")
        rows = []
        for name, runs in self.summaries.items():
            known = [[value for run in runs if (value := each.of(run)) is not None] for each in columns]
            rows.append([name, *(number(sum(found) / len(found)) if found else "-" for found in known)])
        seeds = len(next(iter(self.summaries.values())))
        of = f", means over {seeds} seeds" if seeds > 1 else ""
        return f"{len(rows)} scenarios{of}", [["", *(each.axis for each in columns)], *rows], self.notes


def simulate_all(
    chosen: Mapping[str, Chosen],
    seeds: int,
    simulate: Callable[[str, Scenario, Path | None], Result],
    *,
    different_traffic: bool,
    on_note: Callable[[str], None],
) -> ComparisonResult:
    """Simulate scenarios by name, each with so many seeds; ``simulate`` gets name, scenario and its folder.

    ``on_note`` gets what has to be known to read the result, as soon as it is known. Raises InputError for other
    requests, unless ``different_traffic``.
    """
    names, notes = list(chosen), list[str]()

    def note(text: str) -> None:
        notes.append(text)
        on_note(text)

    for text in traffic_notes(names, list(chosen.values()), different_traffic):
        note(text)
    base = chosen[names[0]][0]
    if any(_scored(scenario) != _scored(base) for scenario, _ in chosen.values()):
        note(f"[user], [slo], [metrics] or run.trim_* differ; all are measured with those of {names[0]}")
    results = [
        [
            simulate(name, scenario.with_overrides([f"seed={scenario.seed + replication}"]), base_dir)
            for replication in range(seeds)
        ]
        for name, (scenario, base_dir) in chosen.items()
    ]
    windows = [shown.common_window(runs, base.window) for runs in zip(*results, strict=True)]
    if any(window != base.window for window in windows):
        note(
            "answers decide when requests arrive; all are measured over the time that the first to end takes"
        )
    summaries: list[list[Summary]] = [
        [
            result.summary(base.user, base.slo, window, base.metrics.also)
            for result, window in zip(runs, windows, strict=True)
        ]
        for runs in results
    ]
    for name, runs, (first, *_) in zip(names, results, summaries, strict=True):
        for text in warnings(runs[0].manifest, first):
            note(f"{name}: {text}")
    return ComparisonResult(chosen, results, summaries, notes)


def _scored(scenario: Scenario) -> tuple[object, ...]:
    return scenario.user, scenario.slo, scenario.window, scenario.metrics.also


def compare(
    scenarios: Mapping[str, ScenarioLike] | Sequence[ScenarioLike] | ScenarioLike = None,
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    settings: Settings = None,
    seeds: int = 1,
    different_traffic: bool = False,
    on_progress: Callable[[int, int], None] = ignore,
) -> ComparisonResult:
    """Simulate scenarios on the same traffic; the first is what the others are compared with.

    ``scenarios`` are a list, or a dict by name; or one, with ``vary`` a key and its values: ``{"policy.scheduling":
    ["vllm_v1", ShortestPrompt]}``. ``settings`` change keys of all. With ``seeds`` each is repeated, and differences
    have intervals. ``on_progress`` gets runs done and runs in all. Raises InputError for other requests, unless
    ``different_traffic``.
    """
    from simulator.scenario.run import run

    chosen = _chosen(scenarios, vary, settings)
    total, done = len(chosen) * check_count("seeds", seeds), 0

    def simulate(name: str, scenario: Scenario, base_dir: Path | None) -> Result:
        nonlocal done
        result = run(scenario, base_dir=base_dir)
        done += 1
        on_progress(done, total)
        return result

    return simulate_all(chosen, seeds, simulate, different_traffic=different_traffic, on_note=lambda _: None)


def _chosen(
    scenarios: Any, vary: Mapping[str, Sequence[Any]] | None, settings: Settings
) -> dict[str, Chosen]:
    one = scenarios is None or isinstance(scenarios, Scenario | str | Path)
    if vary is not None:
        if not isinstance(vary, Mapping) or len(vary) != 1:
            raise InputError(f"vary: expected a dict of one scenario key with its values, got {vary!r}")
        ((key, given),) = vary.items()
        values = axis(given)
        if not isinstance(values, list) or len(values) < 2 or len(set(map(str, values))) < len(values):
            raise InputError(f"vary: {key}: expected two or more different values, got {given!r}")
        scenario, base_dir = read_scenario(
            scenarios if one or isinstance(scenarios, Mapping) else _only(scenarios)
        )
        changes = dict(settings or {})
        base, _ = read_scenario(scenario, changes)
        return {str(value): (base.with_overrides([setting(key, value)]), base_dir) for value in values}
    if one:
        raise InputError("scenarios: expected two or more, or one with vary")
    names, values = named(scenarios, "scenarios")
    if len(values) < 2:
        raise InputError(f"scenarios: expected two or more, or one with vary, got {len(values)}")
    found = [read_scenario(value, settings) for value in values]
    own = [name or scenario.name for name, (scenario, _) in zip(names, found, strict=True)]
    return dict(zip(shown.distinct(own), found, strict=True))


def _only(scenarios: Any) -> Any:
    _, values = named(scenarios, "scenarios")
    if len(values) != 1:
        raise InputError(f"scenarios: {len(values)} with vary; expected one")
    return values[0]
