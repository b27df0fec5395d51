"""The command ``servesim``: run, compare, sweep, capacity, plan, list, show, validate, reproduce, profile.

Results go to stdout and are the same for the same scenario; all else goes to stderr. Exit codes: 0 done,
1 a bar or target is missed, 2 input or disk refuse (one sentence), 3 the policy stalled, 130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from simulator.cli.terminal import quiet_interrupt
from simulator.errors import InputError, StallError

sys.excepthook = quiet_interrupt  # a Ctrl-C may come before main() does
gc.set_threshold(200_000, 50, 100)  # modules and records are many, cycles are few: look for them less often
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some takes longer than validating

import typer  # noqa: E402

from experiments.commands.reproduce import reproduce  # noqa: E402
from experiments.commands.validate import validate  # noqa: E402
from simulator.cli.commands import compare as compare_cli  # noqa: E402
from simulator.cli.commands import plan as plan_cli  # noqa: E402
from simulator.cli.commands import run as run_cli  # noqa: E402
from simulator.cli.commands.capacity import EXAMPLE as CAPACITY_EXAMPLE  # noqa: E402
from simulator.cli.commands.capacity import capacity  # noqa: E402
from simulator.cli.commands.profile import app as profile_app  # noqa: E402
from simulator.cli.commands.run import InterruptedRunError  # noqa: E402
from simulator.cli.commands.sweep import EXAMPLE as SWEEP_EXAMPLE  # noqa: E402
from simulator.cli.commands.sweep import sweep  # noqa: E402

BAD_INPUT, STALLED, INTERRUPTED = 2, 3, 130

app = typer.Typer(
    help="Simulate LLM serving: exact token traces, classic metrics and smooth goodput.",
    epilog="Begin with: servesim run   (an hour of real chat traffic on two H100s)",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(epilog=run_cli.EXAMPLES)(run_cli.run)
app.command(epilog=compare_cli.EXAMPLE)(compare_cli.compare)


@app.command(name="list")
def list_(
    topic: Annotated[str, typer.Argument(metavar="policies|gpus|models|workloads", help="What to list.")],
) -> None:
    """List the names that a scenario can use."""
    from simulator.report.listing import listing

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
    from simulator.report.report import report
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

    for override in overrides or []:
        if not override.startswith(("user.", "slo.")):
            raise InputError(f"--set {override}: a saved run can be measured anew only in user.* and slo.*")
    result = Result.load(folder)
    saved = result.manifest["scenario"]
    options = Scenario(user=saved["user"], slo=saved["slo"]).with_overrides(overrides or [])
    sys.stdout.write(report(result.manifest, result.summary(options.user, options.slo)))


app.command(epilog=SWEEP_EXAMPLE)(sweep)
app.command(epilog=CAPACITY_EXAMPLE)(capacity)
app.command(epilog=plan_cli.EXAMPLE)(plan_cli.plan)
app.command(epilog="Example: servesim validate --set burst   (all sets take about a minute)")(validate)
app.command(epilog="Example: servesim reproduce C1 C4 --quick   (all, quick: about three minutes)")(reproduce)
app.add_typer(profile_app, name="profile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a refusal is one line on stderr, never a traceback."""
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
    except InterruptedRunError as error:
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


def _refuse(text: str, code: int) -> int:
    print("servesim: error: " + " ".join(text.split()), file=sys.stderr)
    return code


def _let_go_of_stdout() -> None:
    """Leave nothing unwritten behind that the interpreter would stumble over when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry() -> None:
    """Run the command as a process of its own."""
    code = main()
    if sys.argv[1:2] == ["run"]:  # leaves nothing to tidy up, and taking millions of records apart takes time
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
