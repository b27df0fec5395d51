"""``servesim compare``: several scenarios, or saved runs, on the same traffic, side by side."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson, NoPlot, Overrides, Overwrite, load_scenario
from simulator.cli.output import print_json, say, warn
from simulator.cli.saved_runs import compare_saved
from simulator.cli.saving import simulate_and_save
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

ORDER = 20
TABLES = True
EPILOG = """Examples:

\b
servesim compare --vary policy.scheduling=vllm_v1,sarathi,smooth
servesim compare a.toml b.toml --seeds 5
servesim compare runs/a runs/b --set user.preset=paper_v2
"""


def compare(
    scenarios: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Scenario files (TOML), or folders of saved runs; the first is the base.",
            autocompletion=completion.runs_and_scenarios,
        ),
    ] = None,
    overrides: Overrides = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=A,B,...",
            help="Instead of several files: one, with each of these values.",
            autocompletion=completion.variants,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Repeat with so many seeds; differences then have intervals.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records, one folder a scenario in it.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    different_traffic: Annotated[
        bool, typer.Option("--different-traffic", help="Compare though the requests are not the same.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Simulate scenarios on the same traffic, or read saved runs of it; print differences in %."""
    if scenarios and any(path.is_dir() for path in scenarios):
        if not all(path.is_dir() for path in scenarios) or vary is not None or seeds > 1 or out is not None:
            raise InputError(
                "compare: with folders of saved runs, expected nothing else but folders (no scenario files, --vary,"
                " --seeds or --out)"
            )
        compare_saved(scenarios, overrides or [], different_traffic, as_json)
        return
    from simulator.report.comparison import common_window, comparison, distinct, over_seeds, varied
    from simulator.report.report import Summary, warnings
    from simulator.report.same_traffic import traffic_notes
    from simulator.report.tables import Document, Words
    from simulator.results.folders import claimed
    from simulator.scenario.engines import engine_names, one_line

    paths: list[Path | None] = list(scenarios or [])
    if vary is not None:
        names, settings = varied(vary)
        if len(paths) > 1:
            raise InputError(f"compare: --vary {vary} with {len(paths)} scenario files; expected at most one")
        path = paths[0] if paths else None
        chosen = [load_scenario(path, [*(overrides or []), setting]) for setting in settings]
    else:
        if len(paths) < 2:
            raise InputError(f"compare: expected two or more scenario files, got {len(paths)} (or --vary)")
        chosen = [load_scenario(path, overrides or []) for path in paths]
        names = distinct([scenario.name for scenario, _ in chosen])
    for text in traffic_notes(names, chosen, different_traffic):
        warn(text)
    base = chosen[0][0]
    if any(_scored(scenario) != _scored(base) for scenario, _ in chosen):
        warn(f"[user], [slo], [metrics] or run.trim_* differ; all are measured with those of {names[0]}")
    folders = [out / name for name in names] if out is not None else []
    results: list[list[Result]] = []
    with ExitStack() as claims:
        for folder in folders:
            claims.enter_context(claimed(folder, overwrite))
        for i, (scenario, base_dir) in enumerate(chosen):
            results.append([])
            for replication in range(seeds):
                alike = scenario.with_overrides([f"seed={scenario.seed + replication}"])
                place = folders[i] if folders else None
                if place is not None and seeds > 1:
                    place = place / f"seed-{alike.seed}"
                result, failure = simulate_and_save(alike, base_dir, place, plot=not no_plot)
                if failure is not None:
                    raise failure
                results[-1].append(result)
    windows = [common_window(runs, base.window) for runs in zip(*results, strict=True)]
    if any(window != base.window for window in windows):
        warn(
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
            warn(f"{name}: {text}")
    if as_json:
        print_json([{"name": name, "summaries": runs} for name, runs in zip(names, summaries, strict=True)])
        return
    found = over_seeds(names, summaries) if seeds > 1 else comparison(names, [each for (each,) in summaries])
    engines = {
        name: engine_names(scenario, base_dir)
        for name, (scenario, base_dir) in zip(names, chosen, strict=True)
    }
    say(found + Document([Words([f"user model: {base.user.described}", one_line(engines)])]))


def _scored(scenario: "Scenario") -> tuple[object, ...]:
    return scenario.user, scenario.slo, scenario.window, scenario.metrics.also
