"""``servesim show``: a saved run, measured again."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import InputError

ORDER = 40
EPILOG = "Example: servesim show results/a --set user.v_s_per_token=0.1 --set slo.ttft_s=0.5"


def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another user.*, slo.* or metrics.* value; may be repeated."
        ),
    ] = None,
) -> None:
    """Measure a saved run again, with other user.*, slo.* or metrics.* values."""
    from simulator.report.report import report
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

    for override in overrides or []:
        if not override.startswith(("user.", "slo.", "metrics.", "run.trim_")):
            raise InputError(
                f"--set {override}: a saved run can be measured anew only in user.*, slo.*, metrics.* and run.trim_*"
            )
    result = Result.load(folder)
    saved = result.manifest["scenario"]
    sections = {name: saved[name] for name in ("user", "slo", "metrics", "run")}
    options = Scenario(**sections).with_overrides(overrides or [])
    summary = result.summary(options.user, options.slo, options.window, options.metrics.also)
    sys.stdout.write(report(result.manifest, summary))
