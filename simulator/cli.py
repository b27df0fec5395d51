"""The command ``servesim``: run, compare, sweep, list, show, validate, reproduce, profile.

Results go to stdout and are the same for the same scenario; everything else goes to stderr. Exit codes:
0 done, 1 validate missed a bar, 2 the input or the disk refuses (one sentence), 3 the policy stalled,
130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from simulator.errors import InputError, StallError
from simulator.terminal import cores, progress, quiet_interrupt, stop_on_interrupt

sys.excepthook = quiet_interrupt  # a Ctrl-C may come before main() does

import typer  # noqa: E402

from experiments.validate import validate  # noqa: E402
from simulator.profile_cli import app as profile_app  # noqa: E402
from simulator.reproduce_cli import reproduce  # noqa: E402
from simulator.sweep_cli import EXAMPLE as SWEEP_EXAMPLE  # noqa: E402
from simulator.sweep_cli import sweep  # noqa: E402

if TYPE_CHECKING:
    from simulator.result import Result
    from simulator.scenario import Scenario

BAD_INPUT, STALLED, INTERRUPTED = 2, 3, 130

app = typer.Typer(
    help="Simulate LLM serving: exact token traces, classic metrics and smooth goodput.",
    epilog="Begin with: servesim run   (an hour of real chat traffic on two H100s)",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.KEY=VALUE", help="Change one key of the scenario; may be repeated."
    ),
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Do not draw overview.png.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")]

RUN_EXAMPLES = """Examples:

\b
servesim run
servesim run my.toml --out results/a
servesim run --set cluster.replicas=1 --set workload.rate_scale=1.5
servesim run --set policy.scheduling=orca --set slo.ttft_s=0.5
servesim run --set workload.arrivals=poisson --set workload.rate_rps=8 \\
    --set workload.requests=5000 --set workload.lengths=chat_azure2023
servesim run --print-scenario > my.toml
"""


@app.command(epilog=RUN_EXAMPLES)
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
    chosen, base_dir = _scenario(scenario, overrides or [])
    if print_scenario:
        sys.stdout.write(chosen.to_toml())
        return
    from simulator.report import report

    folder = out if out is not None else _free_folder(chosen.name)
    claimed = _claim(folder, overwrite)
    try:
        result, failure = _run(chosen, base_dir, folder, plot=not no_plot, processes=jobs or cores())
    except BaseException:
        if claimed:
            with suppress(OSError):
                folder.rmdir()  # refuses where records are in it
        raise
    sys.stdout.write(report(result.manifest, result.summary(), result.log))
    if failure is not None:
        raise failure
    print(f"records: {folder}", file=sys.stderr)


@app.command(epilog="Example: servesim compare --vary policy.scheduling=vllm_v1,sarathi,smooth")
def compare(
    scenarios: Annotated[
        list[Path] | None, typer.Argument(help="Scenario files (TOML); the first is the base.")
    ] = None,
    overrides: Overrides = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="KEY=A,B,...", help="Instead of several files: one, with each of these values."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Repeat with so many seeds; differences then have intervals.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records, one folder a scenario in it.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    different_traffic: Annotated[
        bool, typer.Option("--different-traffic", help="Compare though the requests are not the same.")
    ] = False,
) -> None:
    """Simulate scenarios on the same traffic; print differences in %."""
    from simulator.comparison import comparison, distinct, over_seeds, traffic_notes, varied
    from simulator.report import Summary, warnings

    paths: list[Path | None] = list(scenarios or [])
    if vary is not None:
        names, settings = varied(vary)
        if len(paths) > 1:
            raise InputError(f"compare: --vary {vary} with {len(paths)} scenario files; expected at most one")
        path = paths[0] if paths else None
        chosen = [_scenario(path, [*(overrides or []), setting]) for setting in settings]
    else:
        if len(paths) < 2:
            raise InputError(f"compare: expected two or more scenario files, got {len(paths)} (or --vary)")
        chosen = [_scenario(path, overrides or []) for path in paths]
        names = distinct([scenario.name for scenario, _ in chosen])
    for text in traffic_notes(names, chosen, different_traffic):
        _note(text)
    base = chosen[0][0]
    if any((scenario.user, scenario.slo) != (base.user, base.slo) for scenario, _ in chosen):
        _note(f"[user] and [slo] differ; all are measured with those of {names[0]}")
    folders = [out / name for name in names] if out is not None else []
    for folder in folders:
        _claim(folder, overwrite)
    summaries: list[list[Summary]] = []
    for i, (name, (scenario, base_dir)) in enumerate(zip(names, chosen, strict=True)):
        summaries.append([])
        for replication in range(seeds):
            alike = scenario.with_overrides([f"seed={scenario.seed + replication}"])
            place = folders[i] if folders else None
            if place is not None and seeds > 1:
                place = place / f"seed-{alike.seed}"
            result, failure = _run(alike, base_dir, place, plot=not no_plot)
            if failure is not None:
                raise failure
            summaries[-1].append(result.summary(base.user, base.slo))
            for text in warnings(result.manifest, summaries[-1][-1]) if replication == 0 else ():
                _note(f"{name}: {text}")
    if seeds > 1 and all(each == runs[0] for runs in summaries for each in runs):
        _note("all seeds give the same: nothing in these scenarios is random, and the intervals mean nothing")
    sys.stdout.write(
        over_seeds(names, summaries) if seeds > 1 else comparison(names, [each for (each,) in summaries])
    )


@app.command(name="list")
def list_(
    topic: Annotated[str, typer.Argument(metavar="policies|gpus|models|workloads", help="What to list.")],
) -> None:
    """List the names that a scenario can use."""
    from simulator.listing import listing

    sys.stdout.write(listing(topic))


@app.command(epilog="Example: servesim show results/a --set user.v_s_per_token=0.1 --set slo.ttft_s=0.5")
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another user.* or slo.* value; may be repeated."),
    ] = None,
) -> None:
    """Measure a saved run again, with other user.* or slo.* values."""
    from simulator.report import report
    from simulator.result import Result
    from simulator.scenario import Scenario

    for override in overrides or []:
        if not override.startswith(("user.", "slo.")):
            raise InputError(f"--set {override}: a saved run can be measured anew only in user.* and slo.*")
    result = Result.load(folder)
    saved = result.manifest["scenario"]
    options = Scenario(user=saved["user"], slo=saved["slo"]).with_overrides(overrides or [])
    sys.stdout.write(report(result.manifest, result.summary(options.user, options.slo), result.log))


app.command(epilog=SWEEP_EXAMPLE)(sweep)
app.command(epilog="Example: servesim validate --set burst   (all sets take about a minute)")(validate)
app.command(epilog="Example: servesim reproduce C1 C4 --quick   (all, quick: about three minutes)")(reproduce)
app.add_typer(profile_app, name="profile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a refusal is one line on stderr, never a traceback."""
    gc.set_threshold(50_000, 20, 20)  # records are many, cycles are few: look for them less often
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given or ["--help"], prog_name="servesim", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer's way to hand on a Ctrl-C
            raise KeyboardInterrupt
    except InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except StallError as error:
        return _refuse(str(error), STALLED)
    except _InterruptedError as error:
        return _refuse(str(error), INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _let_go_of_stdout()  # the reader has gone, as in: servesim list workloads | head -1
        return 0
    except MemoryError:
        return _refuse("not enough memory; expected fewer requests or tokens", BAD_INPUT)
    except OSError as error:
        _let_go_of_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}", BAD_INPUT)
    except Exception as error:
        message = getattr(error, "format_message", None)  # typer's usage errors, whichever click it brings
        if message is None:
            raise
        return _refuse(message().replace("\n", " "), BAD_INPUT)
    return code if isinstance(code, int) else 0  # validate's, where a bar is missed


class _InterruptedError(Exception):
    pass


def _refuse(text: str, code: int) -> int:
    print("servesim: error: " + " ".join(text.split()), file=sys.stderr)
    return code


def _let_go_of_stdout() -> None:
    """Leave nothing unwritten behind that the interpreter would stumble over when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _note(text: str) -> None:
    print(f"servesim: warning: {text}", file=sys.stderr)


def _scenario(path: Path | None, overrides: Sequence[str]) -> "tuple[Scenario, Path | None]":
    from simulator.scenario import Scenario, default_scenario

    if path is None:
        return default_scenario(overrides), None
    return Scenario.from_toml(path, overrides), path.parent


def _run(
    scenario: "Scenario", base_dir: Path | None, folder: Path | None, *, plot: bool, processes: int = 1
) -> "tuple[Result, Exception | None]":
    """Simulate and save; return the result, and what the command must fail with once that is printed.

    The first Ctrl-C ends the simulation early, or skips the picture; the records are saved all the same.
    """
    with stop_on_interrupt() as asked:
        try:
            result = _simulate(scenario, base_dir, asked, processes)
        except KeyboardInterrupt as error:
            raise _InterruptedError("interrupted twice; nothing was saved") from error
        cut_off = asked()
        try:
            if folder is not None:
                result.save(folder, plot=False, overwrite=True)
                if plot and asked() == cut_off:
                    result.plot(folder / "overview.png")
        except OSError as error:
            return result, InputError(f"{folder}: the records could not be saved: {error.strerror or error}")
        except KeyboardInterrupt as error:
            raise _InterruptedError(f"interrupted twice; the records in {folder} are not complete") from error
        return result, _cut_off(result, folder, asked())


def _simulate(
    scenario: "Scenario", base_dir: Path | None, asked: Callable[[], bool], processes: int
) -> "Result":
    with progress(scenario.name) as on_progress:
        from simulator.runner import run as simulate  # slow enough for a Ctrl-C to land in it

        try:
            return simulate(
                scenario, base_dir=base_dir, on_progress=on_progress, should_stop=asked, processes=processes
            )
        except StallError as error:
            stalled: Result | None = error.result
            if stalled is None:
                raise
            return stalled  # marked as stalled: saved and shown like any other before the command fails


def _free_folder(name: str) -> Path:
    slug = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-") or "run"
    number = 1
    while (folder := Path("servesim-out") / f"{slug}-{number}").exists():
        number += 1
    return folder


def _claim(folder: Path, overwrite: bool) -> bool:
    """Refuse a folder that cannot be written before any time is spent; say whether it was made here."""
    from simulator.saved import claim

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
        return _InterruptedError(f"interrupted at {end_s:,.0f} s of simulated time; {kept}")
    if asked:
        kept = f"all records are in {folder}" if folder else "nothing was saved"
        return _InterruptedError(f"interrupted after the end of the simulation; {kept}")
    return None


if __name__ == "__main__":
    sys.exit(main())
