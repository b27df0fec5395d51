"""Saved runs from the command line: which there are, and several side by side."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simulator.cli.options import print_json
from simulator.errors import InputError

MANIFEST, SUMMARY = "manifest.json", "summary.json"
_DEEPEST = 4  # folders below the root that are looked through


def measured_by(manifest: dict[str, Any], overrides: Sequence[str]) -> Any:
    """Return the scenario sections that say how a saved run is measured, with other values.

    Raises InputError for keys that only a new simulation could answer.
    """
    from simulator.scenario.scenario import Scenario

    check_measures_only(overrides)
    sections = {name: manifest["scenario"][name] for name in ("user", "slo", "metrics", "run")}
    return Scenario(**sections).with_overrides(list(overrides))


def check_measures_only(overrides: Sequence[str]) -> None:
    """Raise InputError for keys that only a new simulation could answer."""
    from simulator.functions.score import check_measures_only as check

    check(overrides)


def compare_saved(
    folders: Sequence[Path], overrides: Sequence[str], different_traffic: bool, as_json: bool
) -> None:
    """Print the table of saved runs, all measured as the first one says."""
    from simulator.report.comparison import common_window, comparison, distinct, saved_traffic_notes
    from simulator.report.report import warnings
    from simulator.results.result import Result
    from simulator.scenario.engines import one_line

    if len(folders) < 2:
        raise InputError(f"compare: expected two or more folders of saved runs, got {len(folders)}")
    results = [Result.load(folder) for folder in folders]
    names = distinct([folder.resolve().name for folder in folders])
    notes = saved_traffic_notes(names, results, different_traffic)
    base = measured_by(results[0].manifest, overrides)
    if any(result.scoring != results[0].scoring for result in results) and not overrides:
        notes.append(
            f"[user], [slo], [metrics] or run.trim_* differ; all are measured with those of {names[0]}"
        )
    window = common_window(results, base.window)
    if window != base.window:
        notes.append(
            "answers decide when requests arrive; all are measured over the time that the first to end takes"
        )
    summaries = [result.summary(base.user, base.slo, window, base.metrics.also) for result in results]
    for name, result, summary in zip(names, results, summaries, strict=True):
        notes += [f"{name}: {text}" for text in warnings(result.manifest, summary)]
    for text in notes:
        print(f"servesim: warning: {text}", file=sys.stderr)
    if as_json:
        print_json([{"name": name, "summaries": [each]} for name, each in zip(names, summaries, strict=True)])
        return
    sys.stdout.write(comparison(names, summaries))
    print(f"user model: {base.user.described}")
    profiles = [_engine(summary) for summary in summaries]
    engines = dict(zip(names, profiles, strict=True))
    print(one_line(engines))


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
            manifest, summary = (
                json.loads((path.parent / name).read_text(encoding="utf-8")) for name in (MANIFEST, SUMMARY)
            )
        except (OSError, ValueError):
            continue
        if isinstance(manifest, dict) and isinstance(summary, dict) and "scenario" in manifest:
            yield path.parent, manifest, summary
