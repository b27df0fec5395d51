"""Saved runs from the command line: which there are, and several side by side."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.cli.output import print_json, say, warn, wrote
from simulator.errors import InputError
from simulator.input_files import parse_json, read_text

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

MANIFEST, SUMMARY = "manifest.json", "summary.json"
_DEEPEST = 4  # folders below the root that are looked through


def measured_by(manifest: dict[str, Any], overrides: Sequence[str]) -> "Scenario":
    """Return the scenario sections that say how a saved run is measured, with other values.

    Raises InputError for keys that only a new simulation could answer.
    """
    from simulator.functions.score import check_measures_only
    from simulator.scenario.scenario import Scenario

    check_measures_only(overrides)
    sections = {name: manifest["scenario"][name] for name in ("user", "slo", "metrics", "run")}
    return Scenario(**sections).with_overrides(list(overrides))


def measured_alike(
    names: Sequence[str], results: "Sequence[Result]", overrides: Sequence[str], different_traffic: bool
) -> "tuple[Scenario, list[str]]":
    """Return by what saved runs are measured, which is what the first says, and what is not the same in them.

    Raises InputError for other requests, unless ``different_traffic``.
    """
    from simulator.report.same_traffic import saved_traffic_notes

    notes = saved_traffic_notes(names, results, different_traffic)
    base = measured_by(results[0].manifest, overrides)
    if any(result.scoring != results[0].scoring for result in results) and not overrides:
        notes.append(
            f"[user], [slo], [metrics] or run.trim_* differ; all are measured with those of {names[0]}"
        )
    return base, notes


def compare_saved(
    folders: Sequence[Path],
    overrides: Sequence[str],
    different_traffic: bool,
    as_json: bool,
    plot: Path | None = None,
) -> None:
    """Print the table of saved runs, all measured as the first one says; draw them into ``plot``."""
    from simulator.report.comparison import common_window, comparison, distinct
    from simulator.report.report import warnings
    from simulator.report.tables import Document, Words
    from simulator.results.result import Result
    from simulator.scenario.engines import one_line

    if len(folders) < 2:
        raise InputError(f"compare: expected two or more folders of saved runs, got {len(folders)}")
    results = [Result.load(folder) for folder in folders]
    names = distinct([folder.resolve().name for folder in folders])
    base, notes = measured_alike(names, results, overrides, different_traffic)
    window = common_window(results, base.window)
    if window != base.window:
        notes.append(
            "answers decide when requests arrive; all are measured over the time that the first to end takes"
        )
    summaries = [result.summary(base.user, base.slo, window, base.metrics.also) for result in results]
    for name, result, summary in zip(names, results, summaries, strict=True):
        notes += [f"{name}: {text}" for text in warnings(result.manifest, summary)]
    for text in notes:
        warn(text)
    if plot is not None:
        from simulator.report.comparison_picture import comparison_figure
        from simulator.report.style import save

        save(comparison_figure(names, results, [[each] for each in summaries], base.user), plot)
        wrote("picture", plot)
    if as_json:
        print_json([{"name": name, "summaries": [each]} for name, each in zip(names, summaries, strict=True)])
        return
    found = comparison(names, summaries)
    profiles = [_engine(summary) for summary in summaries]
    engines = dict(zip(names, profiles, strict=True))
    say(found + Document([Words([f"user model: {base.user.described}", one_line(engines)])]))


def _engine(summary: dict[str, Any]) -> str:
    engine = summary.get("engine")
    return "a real server" if engine is None else str(engine.get("profile", "not kept"))


def saved_runs(root: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Yield folder, manifest and summary of the saved runs below a folder, in order of path.

    What is no run, or damaged, is passed over.
    """
    for path in sorted(root.rglob(MANIFEST)):
        if len(path.relative_to(root).parts) > _DEEPEST + 1:
            continue
        try:
            manifest, summary = (parse_json(read_text(path.parent / name)) for name in (MANIFEST, SUMMARY))
        except (OSError, ValueError):
            continue
        if isinstance(manifest, dict) and isinstance(summary, dict) and "scenario" in manifest:
            yield path.parent, manifest, summary


def saved_studies(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield folder, kind and answer of the saved studies below a folder, in order of path.

    A study is a sweep, a plan, a capacity, a reproduction or a validation. What is damaged is passed over.
    """
    found = [
        (path.parent, kind, answer)
        for name, (kind, answer) in _STUDIES.items()
        for path in root.rglob(name)
        if len(path.relative_to(root).parts) <= _DEEPEST + 1
    ]
    for folder, kind, answer in sorted(found):
        with suppress(OSError, ValueError, LookupError, TypeError):
            yield folder, kind, answer(folder)


def _of_sweep(folder: Path) -> str:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    failed = sum(bool(row["error"]) for row in rows)
    return f"{len(rows):,} points" + (f", {failed:,} failed" if failed else "")


def _of_plan(folder: Path) -> str:
    found = parse_json(read_text(folder / "plan.json"))
    chosen = found["plan"]
    if chosen is None:
        return "nothing can be simulated"
    kept = "keeps" if found["keeps"] else "misses"
    return f"{chosen['name']}, ${chosen['usd_per_hour']:.2f} an hour, {kept} {' and '.join(found['target'])}"


def _of_capacity(folder: Path) -> str:
    found = parse_json(read_text(folder / "answer.json"))
    rate = "no rate" if found["rate"] is None else f"{found['rate']:.4g} {found['unit']}"
    return f"{rate} for {found['target']}"


def _of_reproduction(folder: Path) -> str:
    verdicts = [parse_json(read_text(path)) for path in sorted(folder.glob("*/verdict.json"))]
    counted = Counter(verdict["outcome"] for verdict in verdicts)
    return ", ".join(f"{count} {outcome}" for outcome, count in counted.items())


def _of_validation(folder: Path) -> str:
    bars = parse_json(read_text(folder / "results.json"))["bars"]
    return f"{sum(bar['holds'] for bar in bars)} of {len(bars)} accuracy bars hold"


_STUDIES: dict[str, tuple[str, Callable[[Path], str]]] = {  # by the file that tells the kind
    "sweep.csv": ("sweep", _of_sweep),
    "plan.json": ("plan", _of_plan),
    "answer.json": ("capacity", _of_capacity),
    "results.md": ("reproduce", _of_reproduction),
    "results.json": ("validate", _of_validation),
}
