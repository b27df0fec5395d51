"""``servesim capacity``: the highest rate that keeps a target, or the best one, with an interval."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson, Overrides, load_scenario
from simulator.cli.output import print_json, say, wrote
from simulator.errors import InputError

ORDER = 60
EPILOG = """Examples:

\b
servesim capacity chat.toml                                    the best rate by smooth goodput
servesim capacity chat.toml --target 'ttft_p99<=0.5'           the highest rate with this p99
servesim capacity chat.toml --target 'token_slo>=0.99'         with 99 % of requests read without a stall
servesim capacity chat.toml --target 'slo>=0.95' --set slo.ttft_s=1.0
servesim capacity chat.toml --target stable                    at which no queue grows
"""


def capacity(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Scenario file (TOML). Without one: an hour of Azure chat on two H100s."),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="KEY<=NUMBER, KEY>=NUMBER, KEY (its largest value) or stable. A key is one of summary.json, with"
            " dots, or short: token_slo, slo, ttft_p99, tbt_mean, ...",
            autocompletion=completion.targets,
        ),
    ] = "smooth",
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
    from simulator.cli.terminal import counting
    from simulator.results.folders import folder_named
    from simulator.scenario.engines import engine_names
    from simulator.studies.capacity.best import best_rate
    from simulator.studies.capacity.book import SearchPlan
    from simulator.studies.capacity.outcome import CapacityOutcome
    from simulator.studies.capacity.output import FILES, report, write
    from simulator.studies.capacity.scenario import CapacityRuns, ScaledTraffic
    from simulator.studies.capacity.search import highest_rate
    from simulator.studies.capacity.target import check_target, parse_target
    from simulator.studies.processes import close_pools

    chosen, base_dir = load_scenario(scenario, overrides or [])
    wanted = parse_target(target)
    check_target(wanted, chosen.user, chosen.slo, chosen.workload.class_bounds)
    traffic = ScaledTraffic(chosen, base_dir, requests, compared=wanted.bound is None)
    first = traffic.requests
    most = first if traffic.replayed else most_requests or 16 * first
    if most < first:
        raise InputError(f"--most-requests {most}: fewer than the first runs have; expected at least {first}")
    folder = out if out is not None else folder_named(f"capacity-{chosen.name}")
    plan = SearchPlan(
        traffic.start, first, most, within, confidence, most_simulations, seed=chosen.seed,
        most_rate=traffic.most_rate, by_time=not traffic.replayed,
    )  # fmt: skip
    with counting("simulations", most_simulations) as on_done:
        runs = CapacityRuns(
            traffic, wanted, folder / "points", jobs or os.cpu_count() or 1,
            lambda done: on_done(done, most_simulations),
        )  # fmt: skip
        try:
            answer = best_rate(runs, plan) if wanted.bound is None else highest_rate(runs, wanted.bound, plan)
        finally:
            close_pools()
    if not answer.runs:
        raise InputError(f"--most-simulations {most_simulations}: too few to begin; expected 10 or more")
    engine = engine_names(chosen, base_dir)
    outcome = CapacityOutcome(
        answer, runs.found, wanted, plan, traffic.of, traffic.replayed, engine, chosen.user.described
    )
    write(outcome, folder)
    if as_json:
        print_json(json.loads((folder / "answer.json").read_text(encoding="utf-8")))
    else:
        say(report(outcome), kept=folder)
    wrote("results", folder, f" ({', '.join(FILES)})")
