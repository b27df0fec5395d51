"""``servesim list``: the names that a scenario can use."""

import sys
from typing import Annotated

import typer

ORDER = 30


def command(
    topic: Annotated[
        str, typer.Argument(metavar="policies|engines|gpus|models|links|workloads", help="What to list.")
    ],
) -> None:
    """List the names that a scenario can use."""
    from simulator.report.listing import listing

    sys.stdout.write(listing(topic))
