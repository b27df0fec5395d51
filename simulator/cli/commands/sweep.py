"""``servesim sweep``: simulate all points of a study, on all cores or many machines; go on after a stop."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import Jobs, OnRay, Targets, chosen_workers
from simulator.cli.output import say, warn, wrote
from simulator.cli.report_page import ReportTo, report_of_study
from simulator.errors import InputError

ORDER = 50
TABLES = True
EPILOG = """Examples:

servesim sweep study.toml --out runs/study --jobs 4

servesim sweep study.toml --out runs/study --ray   (on the Ray cluster that this machine belongs to)
"""


def sweep(
    study: Annotated[Path, typer.Argument(help="Study file (TOML): base, axes, paired, set, replications.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: runs/NAME of the study.")
    ] = None,
    jobs: Jobs = None,
    target: Targets = None,
    ray: OnRay = None,
    page: ReportTo = None,
) -> None:
    """Simulate every point of a study; print and save one table, draw what depends on what.

    What is done is kept in OUT/points: after Ctrl-C, a crash or a change of the axes, the same command
    computes only what is missing. A point that fails is recorded with its error, and the rest goes on.
    """
    workers = chosen_workers(jobs, ray)
    from simulator.cli.terminal import counting
    from simulator.functions.sweep import run_sweep
    from simulator.results.folders import folder_named
    from simulator.studies.sweep.sweep import Study

    chosen = Study.from_toml(study, target or ())
    folder = out if out is not None else folder_named(chosen.name)
    with counting("points") as on_done:
        found = run_sweep(chosen, folder, workers, on_done)
    files, failed = found.save(folder), found.failed
    say(found.document(), kept=folder)
    for point, error in failed[:5]:
        at = ", ".join(f"{key}={value}" for key, value in point.values.items())
        warn(f"{at}, seed {point.seed}: {error}")
    if failed:
        warn(f"{len(failed)} of {len(found.results)} points failed")
    wrote("results", folder, f" ({', '.join(files)})")
    report_of_study(folder, page)
    if len(failed) == len(found.results):
        raise InputError(f"{study}: all points failed; expected one that can be simulated: {failed[0][1]}")
