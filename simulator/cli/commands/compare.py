"""``servesim compare``: several scenarios, or saved runs, on the same traffic, side by side."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.cli.bands import band_of
from simulator.cli.options import AsJson, Overrides, Overwrite, load_scenario
from simulator.cli.output import print_json, say, warn, wrote
from simulator.cli.report_page import ReportTo, document_of, report_beside, saved_document
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
servesim compare runs/a runs/b --set user.preset=paper_v2 --plot both.png
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
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw all into one picture, and an SVG beside it. Default: OUT/compare.png.",
        ),
    ] = None,
    no_plot: Annotated[
        bool, typer.Option("--no-plot", help="Do not draw compare.png, nor overview.png of each.")
    ] = False,
    overwrite: Overwrite = False,
    different_traffic: Annotated[
        bool, typer.Option("--different-traffic", help="Compare though the requests are not the same.")
    ] = False,
    as_json: AsJson = False,
    page: ReportTo = None,
    band: Annotated[
        bool,
        typer.Option(
            "--band", help="Twice more each: with steps shorter and longer by their validated error."
        ),
    ] = False,
) -> None:
    """Simulate scenarios on the same traffic, or read saved runs of it; print differences in %."""
    if band and (as_json or seeds > 1):
        raise InputError("--band: with --json or --seeds; expected neither")
    if scenarios and any(path.is_dir() for path in scenarios):
        if (
            not all(path.is_dir() for path in scenarios)
            or vary is not None
            or seeds > 1
            or out is not None
            or band
        ):
            raise InputError(
                "compare: with folders of saved runs, expected nothing else but folders (no scenario files, --vary,"
                " --seeds, --out or --band)"
            )
        compare_saved(scenarios, overrides or [], different_traffic, as_json, plot)
        if page is not None:
            report_beside(saved_document(scenarios, overrides or [], different_traffic), page)
        return
    from simulator.functions.compare import simulate_all
    from simulator.report.comparison import distinct, varied
    from simulator.results.folders import claimed
    from simulator.results.scoring import Scoring

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
    folders = {name: out / name for name in names} if out is not None else {}
    with ExitStack() as claims:
        for folder in folders.values():
            claims.enter_context(claimed(folder, overwrite))

        def simulate(name: str, scenario: "Scenario", base_dir: Path | None) -> "Result":
            place = folders.get(name)
            if place is not None and seeds > 1:
                place = place / f"seed-{scenario.seed}"
            result, failure = simulate_and_save(scenario, base_dir, place, plot=not no_plot)
            if failure is not None:
                raise failure
            return result

        found = simulate_all(
            dict(zip(names, chosen, strict=True)),
            seeds,
            simulate,
            different_traffic=different_traffic,
            on_note=warn,
        )
    if plot is None and out is not None and not no_plot:
        plot = out / "compare.png"
    if plot is not None:
        from simulator.report.style import save

        save(found.figure(), plot)
        wrote("picture", plot)
    if page is not None:
        base, runs = chosen[0][0], list(found.summaries.values())
        scoring = Scoring(base.user, base.slo, base.window, base.metrics.also)
        first = [results[0] for results in found.results.values()]
        report_beside(document_of(names, first, scoring, found.notes, runs if seeds > 1 else None), page)
    if as_json:
        print_json([{"name": name, "summaries": runs} for name, runs in found.summaries.items()])
        return
    say(found.document())
    if band:
        for name, (scenario, base_dir) in zip(names, chosen, strict=True):
            say(band_of(name, scenario, base_dir, found.summaries[name][0]))
