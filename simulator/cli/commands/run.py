"""``servesim run``: one scenario, simulated and saved."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.bands import band_json, band_of
from simulator.cli.options import AsJson, NoPlot, Overrides, Overwrite, load_scenario
from simulator.cli.output import answer, print_json, say, wrote
from simulator.cli.report_page import ReportTo, document_of, report_beside
from simulator.cli.saving import simulate_and_save
from simulator.cli.terminal import cores

ORDER = 10
TABLES = True
EPILOG = """Examples:

\b
servesim run
servesim run my.toml --out runs/a
servesim run --set cluster.replicas=1 --set workload.rate_scale=1.5
servesim run --set policy.scheduling=orca --set slo.ttft_s=0.5
servesim run --set workload.arrivals=poisson --set workload.rate_rps=8 \\
    --set workload.requests=5000 --set workload.lengths=chat_azure2023
servesim run --print-scenario > my.toml
"""


def run(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Scenario file (TOML). Without one: an hour of Azure chat on two H100s."),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records. Default: runs/NAME-NUMBER.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    trace_level: Annotated[
        str | None,
        typer.Option(
            "--trace-level",
            help="Keep tokens, steps, requests or summary.",
            autocompletion=completion.trace_levels,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes for a large cluster whose replicas need not know of one another. Default: one a core.",
        ),
    ] = None,
    as_json: AsJson = False,
    page: ReportTo = None,
    band: Annotated[
        bool,
        typer.Option("--band", help="Twice more: with steps shorter and longer by their validated error."),
    ] = False,
    print_scenario: Annotated[
        bool,
        typer.Option("--print-scenario", help="Print the scenario with every default spelled out, and stop."),
    ] = False,
) -> None:
    """Simulate one scenario, print its metrics and save its records."""
    level = [] if trace_level is None else [f"run.trace_level={trace_level}"]
    chosen, base_dir = load_scenario(scenario, [*(overrides or []), *level])
    if print_scenario:
        answer(chosen.to_toml())
        return
    from simulator.report.report import report
    from simulator.report.tables import Document
    from simulator.report.validated import validated_words
    from simulator.results.folders import claimed, claimed_anew

    with claimed_anew(chosen.name) if out is None else claimed(out, overwrite) as folder:
        result, failure = simulate_and_save(
            chosen, base_dir, folder, plot=not no_plot, processes=jobs or cores(), only_summary=page is None
        )
    summary = result.summary()
    with_band = band and failure is None
    if as_json:
        print_json(summary | (band_json(chosen, base_dir, summary) if with_band else {}))
    else:
        told = report(result.manifest, summary)
        if not with_band:
            told += Document([validated_words(chosen, base_dir, summary)])
        say(told, kept=folder)
        if with_band:
            say(band_of(chosen.name, chosen, base_dir, summary), kept=folder)
    if page is not None:
        report_beside(document_of([chosen.name], [result], result.scoring), page)
    if failure is not None:
        raise failure
    wrote("records", folder)
