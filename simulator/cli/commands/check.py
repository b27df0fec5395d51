"""``servesim check``: whether scenario files can be simulated, without simulating them."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import Overrides, load_scenario
from simulator.cli.output import answer, printable
from simulator.errors import InputError

ORDER = 12
EPILOG = "Example: servesim check scenarios/*.toml"


def check(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files (TOML).")],
    overrides: Overrides = None,
) -> None:
    """Check that scenario files can be simulated, without simulating."""
    from simulator.scenario.run import ready

    wrong: list[str] = []
    for path in scenarios:
        try:
            workload, pools = ready(*load_scenario(path, overrides or []))
        except InputError as error:
            text = " ".join(str(error).split())
            wrong.append(text if text.startswith(str(path)) else f"{path}: {text}")
            continue
        replicas = sum(pool.replicas for pool in pools)
        stored = dict.fromkeys(pool.capacity.stored for pool in pools if pool.capacity.stored)
        told = [f"{path}: can be simulated: {len(workload):,} requests, {replicas:,} replicas", *stored]
        answer(printable("; ".join(told)) + "\n")
    if len(wrong) == 1:
        raise InputError(wrong[0])
    if wrong:
        raise InputError(f"{len(wrong)} of {len(scenarios)} scenarios: {'; '.join(wrong)}")
