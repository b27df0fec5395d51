"""What several commands are told in the same way."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one key of the scenario; may be repeated.",
        autocompletion=completion.settings,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="KEY<=NUMBER",
        help="In place of the file's target; may be repeated, or joined by 'and': all must be kept.",
        autocompletion=completion.targets,
    ),
]
Measured = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another user.*, slo.* or metrics.* value; may be repeated.",
        autocompletion=completion.measuring,
    ),
]
SavedRun = Annotated[Path, typer.Argument(help="Folder of a saved run.", autocompletion=completion.runs)]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Do not draw overview.png.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of words and tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")]


def load_scenario(path: Path | None, overrides: Sequence[str]) -> "tuple[Scenario, Path | None]":
    """Return a scenario and the folder that its relative paths are in; without a file the default one."""
    from simulator.scenario.scenario import Scenario, default_scenario

    if path is None:
        return default_scenario(overrides), None
    return Scenario.from_toml(path, overrides), path.parent
