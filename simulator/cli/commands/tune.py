"""``servesim tune``: the best settings of a scenario within some ranges, by trials; go on after a stop."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import Jobs, OnRay, Overrides, Targets, chosen_workers, load_scenario
from simulator.cli.output import say, wrote
from simulator.errors import InputError

NOTHING_KEPT = 1

ORDER = 65
TABLES = True
EPILOG = """Examples:

servesim tune scenario.toml --space engine.max_num_seqs=4..256:log --space engine.gpu_memory_utilization=0.6..0.95

servesim tune scenario.toml --space space.toml --target 'ttft_p99<=0.5' --trials 60 --method tpe
"""


def tune(
    scenario: Annotated[Path, typer.Argument(help="Scenario file (TOML).")],
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=LOW..HIGH|A,B,C|FILE.toml",
            help="A scenario key with a range (:log behind it for a logarithmic one) or values, or a file with"
            " [space]; may be repeated.",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="The number of a summary that shall be best. Default: smooth goodput."),
    ] = None,
    target: Targets = None,
    trials: Annotated[int, typer.Option(help="How many settings are tried.")] = 40,
    method: Annotated[
        str,
        typer.Option(
            help="tba-tpe (avoids settings that fail), tpe, tpe-multivariate or random, which alone needs no Optuna."
        ),
    ] = "tba-tpe",
    seed: Annotated[int, typer.Option(min=0, help="Of what is tried, not of the traffic.")] = 0,
    batch: Annotated[
        int, typer.Option(help="Trials chosen at once; the results depend on it, and not on --jobs.")
    ] = 4,
    longest_s: Annotated[
        float | None,
        typer.Option(help="Simulated seconds after which a trial that has not served all is too slow."),
    ] = None,
    checks: Annotated[
        int, typer.Option(help="Other seeds with which the best and the scenario as it is are compared.")
    ] = 5,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: runs/NAME-tune of the scenario.")
    ] = None,
    jobs: Jobs = None,
    ray: OnRay = None,
) -> None:
    """Find settings that are best by one number and keep all targets; print and save the trials.

    A setting that runs out of memory, is invalid or too slow is a trial, too, with its reason. What is done is kept in
    OUT/trials: after Ctrl-C the same command goes on. Exit code 1 where no trial keeps all targets.
    """
    from simulator.cli.terminal import counting
    from simulator.results.folders import folder_named
    from simulator.studies.tune import output
    from simulator.studies.tune.space import Knob, parse, read_file, space_of
    from simulator.studies.tune.tune import SettingsSearch, judge_of, run_search

    base, base_dir = load_scenario(scenario, overrides or ())
    knobs: list[Knob] = []
    wanted: object = list(target or ())
    for each in space or ():
        if "=" in each:
            knobs.append(parse(each))
            continue
        found_file = read_file(Path(each))
        knobs += found_file.knobs
        objective, wanted = objective or found_file.objective, wanted or found_file.target
    judge = judge_of(base, objective, wanted, longest_s)
    search = SettingsSearch(base, base_dir, space_of(knobs), judge, method, trials, batch, checks, seed)
    workers = chosen_workers(jobs, ray)
    folder = out if out is not None else folder_named(f"{base.name}-tune")
    with counting("simulations") as on_done:
        found = run_search(search, folder, workers, on_done)
    files = output.write(found, folder)
    say(output.document(found), kept=folder)
    wrote("results", folder, f" ({', '.join(files)})")
    if found.best is None:
        raise InputError(f"{scenario}: all trials failed; expected one that runs: {found.trials[-1].reason}")
    if not found.best.feasible:
        raise typer.Exit(NOTHING_KEPT)
