"""``servesim plan``: the cheapest cluster that keeps a target for some traffic; go on after a stop."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import AsJson, Jobs, OnRay, Targets, chosen_workers
from simulator.cli.output import print_json, say, warn, wrote
from simulator.cli.report_page import ReportTo, report_of_study

TARGET_MISSED = 1

ORDER = 70
TABLES = True
EPILOG = """Example: servesim plan plan.toml --out runs/chat

plan.toml, at its shortest:

\b
target = ["token_slo.attainment >= 0.9", "latency.ttft_s.p99 <= 1.0"]
[set]
"workload.trace" = "azure2023_conv"
"user.first_token_allowance_s" = 1.0
"""


def plan(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="Plan file (TOML): target, base, set, space, replications.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: runs/NAME of the plan.")
    ] = None,
    jobs: Jobs = None,
    ray: OnRay = None,
    target: Targets = None,
    no_checks: Annotated[
        bool, typer.Option("--no-checks", help="Do not try the plan with other traffic and slower steps.")
    ] = False,
    each_gpu: Annotated[
        bool, typer.Option("--each-gpu", help="Search for the cheapest cluster of every GPU type, too.")
    ] = False,
    allow_unvalidated: Annotated[
        bool,
        typer.Option(
            "--allow-unvalidated", help="Also GPUs on which no server was measured with such a model."
        ),
    ] = False,
    as_json: AsJson = False,
    page: ReportTo = None,
) -> None:
    """Find which GPUs, how many, which policy and settings keep a target at the least price.

    Bounds that need no simulation come first, then short simulations, whole ones for what is left in doubt.
    What is done is kept in OUT/points: after Ctrl-C, a crash or another target, the same command computes only
    what is missing. Exit code 1 where nothing keeps the target: then the nearest is shown, and by how much it
    misses.
    """
    from simulator.cli.terminal import counting
    from simulator.functions.plan import find_plan
    from simulator.results.folders import folder_named
    from simulator.studies.plan.space import PlanFile

    chosen = PlanFile.from_toml(file, target or (), allow_unvalidated)
    folder = out if out is not None else folder_named(chosen.name)
    workers = chosen_workers(jobs, ray)
    with counting("simulations") as on_done:
        answer = find_plan(chosen, folder, workers, on_done, checks=not no_checks, each_gpu=each_gpu)
    files, found = answer.save(folder), answer.found
    if as_json:
        print_json(answer.as_dict())
    else:
        say(answer.document(), kept=folder)
    failed = [row for row in found.rows() if row.state == "failed"]
    for row in failed[:5]:
        warn(f"{row.line.name(row.count)}: {row.reason}")
    if failed:
        warn(f"{len(failed)} candidates failed")
    wrote("results", folder, f" ({', '.join(files)})")
    report_of_study(folder, page)
    if not found.keeps:
        raise typer.Exit(TARGET_MISSED)
