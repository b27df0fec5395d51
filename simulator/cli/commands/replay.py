"""``servesim replay``: the requests of a load test, simulated at the times at which they were sent."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import AsJson, Overrides, Overwrite, load_scenario
from simulator.cli.output import print_json, say, wrote
from simulator.cli.saving import simulate_and_save
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

ORDER = 43
TABLES = True
EPILOG = """Examples:

\b
servesim replay bench.json --scenario mine.toml --out runs/beside
servesim replay requests.csv --even --set hardware.gpu=h200-sxm
"""


def replay(
    file: Annotated[
        Path, typer.Argument(help="Per-request results, as servesim score reads them, of one run.")
    ],
    scenario: Annotated[
        Path | None,
        typer.Option(help="Scenario file (TOML); its traffic is that of FILE. Without one: the defaults."),
    ] = None,
    overrides: Overrides = None,
    even: Annotated[
        bool, typer.Option("--even", help="As in servesim score: smooth goodput where tokens have no times.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table, the picture and both results.")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Do not draw replay.png.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Simulate what a real server was sent; print real beside simulated."""
    from tempfile import TemporaryDirectory

    from simulator.results.folders import claimed
    from simulator.results.imports import read_runs
    from simulator.scenario.scenario import Scenario
    from simulator.studies.replay import output
    from simulator.studies.replay.replay import replay as simulated

    if scenario is None:
        chosen, base_dir = Scenario().with_overrides(overrides or []), None
    else:
        chosen, base_dir = load_scenario(scenario, overrides or [])
    runs = read_runs(file)
    if len(runs) > 1:
        raise InputError(f"{file}: {len(runs)} runs in this file; expected one, to replay it")

    def simulate(with_traffic: "Scenario") -> "Result":
        result, failure = simulate_and_save(with_traffic, base_dir, None, plot=False)
        if failure is not None:
            raise failure
        return result

    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
        else:
            folder = stack.enter_context(claimed(out, overwrite))
            folder.mkdir(parents=True, exist_ok=True)
        found = simulated(runs[0], file, chosen, folder / output.TRAFFIC, simulate, spread_evenly=even)
        if out is not None:
            output.write(found, folder, plot=not no_plot)
    if as_json:
        print_json(output.as_json(found))
    else:
        say(output.report(found), kept=out)
    if out is not None:
        wrote("records", out)
