"""``servesim verify``: whether saved runs are as they were saved."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.output import answer, printable
from simulator.errors import InputError

ORDER = 45
EPILOG = "Example: servesim verify runs/*"


def verify(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of saved runs.", autocompletion=completion.runs)
    ],
) -> None:
    """Check that saved runs are as they were saved: each file against its digest in the manifest, and the manifest.

    Reads no table and simulates nothing. Exit code 2 if any file was changed, is missing, or has no digest.
    """
    from simulator.results.sealed import verified

    wrong: list[str] = []
    for folder in folders:
        try:
            files = verified(folder)
        except InputError as error:
            wrong.append(str(error))
        else:
            answer(printable(f"{folder}: {len(files)} files as they were saved: {', '.join(files)}") + "\n")
    if len(wrong) == 1:
        raise InputError(wrong[0])
    if wrong:
        raise InputError(f"{len(wrong)} of {len(folders)} folders: {'; '.join(wrong)}")
