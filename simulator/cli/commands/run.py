"""``servesim run``: one scenario, simulated and saved; what ``compare`` needs of that too."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.terminal import cores, progress, stop_on_interrupt
from simulator.errors import InputError, StallError

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.KEY=VALUE", help="Change one key of the scenario; may be repeated."
    ),
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Do not draw overview.png.")]
Level = Annotated[str | None, typer.Option("--trace-level", help="Keep tokens, steps, requests or summary.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")]

EXAMPLES = """Examples:

\b
servesim run
servesim run my.toml --out results/a
servesim run --set cluster.replicas=1 --set workload.rate_scale=1.5
servesim run --set policy.scheduling=orca --set slo.ttft_s=0.5
servesim run --set workload.arrivals=poisson --set workload.rate_rps=8 \\
    --set workload.requests=5000 --set workload.lengths=chat_azure2023
servesim run --print-scenario > my.toml
"""


class InterruptedRunError(Exception):
    """Somebody stopped the run; says what is left of it."""


def run(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Scenario file (TOML). Without one: an hour of Azure chat on two H100s."),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records. Default: servesim-out/<name>-<number>.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    trace_level: Level = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes for a large cluster whose replicas need not know of one another. Default: one a core.",
        ),
    ] = None,
    print_scenario: Annotated[
        bool,
        typer.Option("--print-scenario", help="Print the scenario with every default spelled out, and stop."),
    ] = False,
) -> None:
    """Simulate one scenario, print its metrics and save its records."""
    level = [] if trace_level is None else [f"run.trace_level={trace_level}"]
    chosen, base_dir = load_scenario(scenario, [*(overrides or []), *level])
    if print_scenario:
        sys.stdout.write(chosen.to_toml())
        return
    from simulator.report.report import report
    from simulator.results.saved import free_folder

    folder = out if out is not None else free_folder(chosen.name)
    claimed = claim_folder(folder, overwrite)
    try:
        result, failure = simulate_and_save(
            chosen, base_dir, folder, plot=not no_plot, processes=jobs or cores()
        )
    except BaseException:
        if claimed:
            with suppress(OSError):
                folder.rmdir()  # refuses where records are in it
        raise
    sys.stdout.write(report(result.manifest, result.summary()))
    if failure is not None:
        raise failure
    print(f"records: {folder}", file=sys.stderr)


def load_scenario(path: Path | None, overrides: Sequence[str]) -> "tuple[Scenario, Path | None]":
    """Return a scenario and the folder that its relative paths are in; without a file the default one."""
    from simulator.scenario.scenario import Scenario, default_scenario

    if path is None:
        return default_scenario(overrides), None
    return Scenario.from_toml(path, overrides), path.parent


def simulate_and_save(
    scenario: "Scenario", base_dir: Path | None, folder: Path | None, *, plot: bool, processes: int = 1
) -> "tuple[Result, Exception | None]":
    """Simulate and save; return the result, and what the command must fail with once that is printed.

    The first Ctrl-C ends the simulation early, or skips the picture; the records are saved all the same.
    """
    with stop_on_interrupt() as asked:
        try:
            result = _simulate(scenario, base_dir, asked, processes)
        except KeyboardInterrupt as error:
            raise InterruptedRunError("interrupted twice; nothing was saved") from error
        cut_off = asked()
        try:
            if folder is not None:
                result.save(folder, plot=False, overwrite=True)
                if plot and asked() == cut_off:
                    result.plot(folder / "overview.png")
        except OSError as error:
            return result, InputError(f"{folder}: the records could not be saved: {error.strerror or error}")
        except KeyboardInterrupt as error:
            raise InterruptedRunError(
                f"interrupted twice; the records in {folder} are not complete"
            ) from error
        return result, _cut_off(result, folder, asked())


def _simulate(
    scenario: "Scenario", base_dir: Path | None, asked: Callable[[], bool], processes: int
) -> "Result":
    with progress(scenario.name) as on_progress:
        from simulator.scenario.run import run as simulate  # slow enough for a Ctrl-C to land in it

        try:
            return simulate(
                scenario, base_dir=base_dir, on_progress=on_progress, should_stop=asked, processes=processes
            )
        except StallError as error:
            stalled: Result | None = error.result
            if stalled is None:
                raise
            return stalled  # marked as stalled: saved and shown like any other before the command fails


def claim_folder(folder: Path, overwrite: bool) -> bool:
    """Refuse a folder that cannot be written before any time is spent; say whether it was made here."""
    from simulator.results.saved import claim

    new = not folder.exists()
    claim(folder, overwrite)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: permission denied; expected a folder that can be written")
    return new


def _cut_off(result: "Result", folder: Path | None, asked: bool) -> Exception | None:
    """Return what the command fails with if the run did not come to its end, or was asked to stop after."""
    kept = f"the records up to there are in {folder}, marked partial" if folder else "nothing was saved"
    stalled = result.manifest["stalled"]
    if stalled is not None:
        return StallError(f"{stalled}; {kept}")
    if result.partial:
        end_s = result.manifest["end_of_run_s"]
        return InterruptedRunError(f"interrupted at {end_s:,.0f} s of simulated time; {kept}")
    if asked:
        kept = f"all records are in {folder}" if folder else "nothing was saved"
        return InterruptedRunError(f"interrupted after the end of the simulation; {kept}")
    return None
