"""``servesim export``: a saved run in another format."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import Overwrite, SavedRun
from simulator.cli.output import wrote
from simulator.errors import InputError

ORDER = 45
EPILOG = "Example: servesim export runs/a --to vllm_bench"


def export(
    folder: SavedRun,
    name: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help="Format: csv, vllm_bench, ...",
            autocompletion=completion.export_formats,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="What to write: a file, or for csv a folder; default: beside the run, as FOLDER.NAME"
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the format; may be repeated."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a saved run in another format."""
    from simulator.report.exports import beside
    from simulator.report.exports import export as write
    from simulator.results.result import Result
    from simulator.scenario.toml import apply_override

    path = beside(folder, name) if out is None else out
    if path.exists() and not overwrite:
        raise InputError(f"--out {path}: exists; expected a new path, or --overwrite")
    options: dict[str, object] = {}
    for override in overrides or []:
        apply_override(options, override)
    write(Result.load(folder), name, path, options)
    wrote(name, path)
