"""``servesim init``: a scenario file to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import Overrides, load_scenario
from simulator.cli.output import wrote
from simulator.errors import InputError

ORDER = 11
EPILOG = "Example: servesim init my.toml --set hardware.gpu=a100-80gb --set workload.trace=azure2023_code"


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("scenario.toml"),
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Write a scenario file with every key and its meaning."""
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; expected a new file, or --overwrite")
    scenario, _ = load_scenario(None, overrides or [])
    path.write_text(scenario.to_toml(), encoding="utf-8")
    wrote("scenario", path, f"; simulate it with: servesim run {path}")
