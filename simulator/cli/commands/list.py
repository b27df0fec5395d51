"""``servesim list``: the names that a scenario can use, and saved runs."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.output import say
from simulator.errors import InputError

ORDER = 30
TABLES = True


def command(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="policies|engines|gpus|models|drafters|links|workloads|runs",
            help="What to list.",
            autocompletion=completion.topics,
        ),
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Of runs: the folder below which they are. Default: runs.")
    ] = None,
) -> None:
    """List the names that a scenario can use, or saved runs."""
    from simulator.report.listing import listing

    if topic == "runs":
        from simulator.cli.saved_runs import saved_runs, saved_studies
        from simulator.report.listing import runs
        from simulator.results.folders import runs_root

        folder = root if root is not None else runs_root()
        if root is not None and not root.is_dir():
            raise InputError(f"{root}: no folder; expected one with saved runs in it")
        say(runs(saved_runs(folder), saved_studies(folder)))
        return
    say(listing(topic))
