"""What several commands are told in the same way."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario
    from simulator.studies.workers import Workers

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
Jobs = Annotated[int | None, typer.Option(min=1, help="Simulations at once. Default: one a processor core.")]
OnRay = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Simulate on a Ray cluster: its address, auto (the one that this machine belongs to) or local (one of"
        " this machine's cores). Without a value: auto where there is one, else local.",
    ),
]
SavedRun = Annotated[Path, typer.Argument(help="Folder of a saved run.", autocompletion=completion.runs)]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Do not draw overview.png.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of words and tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")]


# Options whose value may be left out, and what they mean then, which typer has no way to say.
WITHOUT_A_VALUE = {"--ray": "any"}


def with_values(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the values of options that may be left out: those at the end, or before an option."""
    found = list(arguments)
    for i, argument in enumerate(found):
        if argument == "--":
            break
        if argument in WITHOUT_A_VALUE and (i + 1 == len(found) or found[i + 1].startswith("-")):
            found[i] = f"{argument}={WITHOUT_A_VALUE[argument]}"
    return found


def chosen_workers(jobs: int | None, ray: str | None) -> "Workers":
    """Return what simulates; raises InputError for processes beside a Ray cluster."""
    from simulator.functions.machine import cores
    from simulator.studies.workers import Workers

    if jobs is not None and ray is not None:
        raise InputError(
            "--jobs: given together with --ray, which knows its own cores; expected one of the two"
        )
    return Workers(jobs or cores(), ray)


def load_scenario(path: Path | None, overrides: Sequence[str]) -> "tuple[Scenario, Path | None]":
    """Return a scenario and the folder that its relative paths are in; without a file the default one."""
    from simulator.scenario.scenario import Scenario, default_scenario

    if path is None:
        return default_scenario(overrides), None
    return Scenario.from_toml(path, overrides), path.parent
