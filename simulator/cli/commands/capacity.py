"""``servesim capacity``: the highest rate that keeps a target, or the best one, with an interval."""

import json
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson, Overrides, load_scenario
from simulator.cli.output import print_json, say, wrote

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
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Simulations at once. Default: one a processor core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the highest request rate that keeps a target, or the best one; print it with its interval.

    Each simulation is kept in OUT/points: after Ctrl-C or a crash the same command goes on from there.
    """
    from simulator.cli.terminal import cores, counting
    from simulator.results.folders import folder_named
    from simulator.studies.capacity.output import FILES, report, write
    from simulator.studies.capacity.several import CapacitySearch, highest_rate_for_all
    from simulator.studies.capacity.target import parse_targets

    chosen, base_dir = load_scenario(scenario, overrides or [])
    targets = parse_targets(target or ["smooth"])
    folder = out if out is not None else folder_named(f"capacity-{chosen.name}")
    how = CapacitySearch(within, confidence, requests, most_requests, most_simulations, jobs or cores())
    with counting("simulations", most_simulations) as on_done:
        outcome = highest_rate_for_all(
            chosen, base_dir, targets, folder / "points", how, lambda done: on_done(done, most_simulations)
        )
    write(outcome, folder)
    if as_json:
        print_json(json.loads((folder / "answer.json").read_text(encoding="utf-8")))
    else:
        say(report(outcome), kept=folder)
    wrote("results", folder, f" ({', '.join(FILES)})")
