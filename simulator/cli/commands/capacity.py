"""``servesim capacity``: the highest rate that keeps a target, or the best one, with an interval."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson, Jobs, OnRay, Overrides, chosen_workers, load_scenario
from simulator.cli.output import print_json, say, wrote
from simulator.cli.report_page import ReportTo, report_of_study

if TYPE_CHECKING:
    from simulator.functions.capacity import CapacityResult
    from simulator.scenario.scenario import Scenario

ORDER = 60
TABLES = True
EPILOG = """Examples:

\b
servesim capacity chat.toml                                    the best rate by smooth goodput
servesim capacity chat.toml --target 'ttft_p99<=0.5'           the highest rate with this p99
servesim capacity chat.toml --target 'token_slo>=0.99'         with 99 % of requests read without a stall
servesim capacity chat.toml --target 'slo>=0.95' --set slo.ttft_s=1.0
servesim capacity chat.toml --target 'ttft_p99<=0.5 and token_slo>=0.99'
servesim capacity chat.toml --target stable                    at which no queue grows
"""


def capacity(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Scenario file (TOML). Without one: an hour of Azure chat on two H100s."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY<=NUMBER, KEY>=NUMBER, KEY (its largest value) or stable. A key is one of summary.json, with"
            " dots, or short: token_slo, slo, ttft_p99, tbt_mean, ... May be repeated, or joined by 'and': all must"
            " be kept. Default: smooth.",
            autocompletion=completion.targets,
        ),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: runs/capacity-NAME.")
    ] = None,
    within: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Wanted half-width of the answer, relative.")
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="With which both ends of the answer are right.")
    ] = 0.95,
    requests: Annotated[
        int | None,
        typer.Option(
            min=100, help="Requests a run, at first. Default: the scenario's, or 1000. Not for a trace."
        ),
    ] = None,
    most_requests: Annotated[
        int | None,
        typer.Option(min=100, help="The same, at most. Default: 16 times."),
    ] = None,
    most_simulations: Annotated[int, typer.Option(min=1, max=10_000, help="Simulations, at most.")] = 100,
    jobs: Jobs = None,
    ray: OnRay = None,
    band: Annotated[
        bool,
        typer.Option(
            "--band", help="Search twice more: with steps shorter and longer by their validated error."
        ),
    ] = False,
    as_json: AsJson = False,
    page: ReportTo = None,
) -> None:
    """Find the highest request rate that keeps a target, or the best one; print it with its interval.

    Each simulation is kept in OUT/points: after Ctrl-C or a crash the same command goes on from there.
    """
    from simulator.cli.terminal import counting
    from simulator.functions.capacity import find_capacity
    from simulator.results.folders import folder_named

    chosen, base_dir = load_scenario(scenario, overrides or [])
    folder = out if out is not None else folder_named(f"capacity-{chosen.name}")

    def search(wanted: "Scenario", place: Path) -> "CapacityResult":
        with counting("simulations", most_simulations) as on_done:
            return find_capacity(
                wanted, base_dir, target or ["smooth"], place, chosen_workers(jobs, ray), on_done, within=within,
                confidence=confidence, requests=requests, most_requests=most_requests,
                most_simulations=most_simulations,
            )  # fmt: skip

    found = search(chosen, folder)
    rates = None
    if band:
        from simulator.studies.band import step_error
        from simulator.studies.capacity.band import RateBand

        rates = RateBand.of(chosen, step_error(chosen, base_dir), folder, found, search)
    files = found.save(folder)
    if as_json:
        print_json(found.as_dict() | ({} if rates is None else {"band": rates.as_json()}))
    else:
        said = found.document()
        say(said if rates is None else said + rates.document(), kept=folder)
    wrote("results", folder, f" ({', '.join(files)})")
    report_of_study(folder, page)
