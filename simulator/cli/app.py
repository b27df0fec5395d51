"""The commands, found by their file names: one file, one command, no registration.

``simulator/cli/commands/<name>.py``, or ``experiments/commands/<name>.py``, is the command ``<name>``: its function of
that name or ``command``, or, for one with commands of its own, its typer ``app``. EPILOG is what its help ends with,
ORDER its place in the list of commands (without one: after the others).
"""

import math
import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any

import typer

from simulator.errors import InputError
from simulator.in_the_way import InTheWayError, check_packages

PACKAGES = ("simulator.cli.commands", "experiments.commands")  # one that is not there has no commands
INTERRUPTED = 130


def call(arguments: Sequence[str]) -> int:
    """Call the command that the arguments name; return its exit code."""
    try:
        code = build()(args=list(arguments), prog_name="servesim", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    if code == INTERRUPTED:  # typer's way to hand on a Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0  # validate's, where a bar is missed


def build() -> typer.Typer:
    """Return the whole command."""
    app = typer.Typer(
        help="Simulate LLM serving: exact token traces, classic metrics and smooth goodput.",
        epilog="Begin with: servesim run   (an hour of real chat traffic on two H100s)",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_servesim)
    for name, file in commands().items():
        command = _command(file)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name=name, epilog=getattr(file, "EPILOG", None))(command)
    return app


def _servesim(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print what this is a version of, and stop.")
    ] = False,
) -> None:
    if version:
        from simulator.cli.version import versions

        print(versions())
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise InputError("expected a command; see: servesim --help")


def commands() -> dict[str, ModuleType]:
    """Return the file of each command by name, in the order of the help."""
    found = {
        file.name.replace("_", "-"): import_module(f"{package}.{file.name}")
        for package in PACKAGES
        for file in pkgutil.iter_modules(_folders(package))
        if not file.name.startswith("_")
    }
    return dict(sorted(found.items(), key=lambda each: (getattr(each[1], "ORDER", math.inf), each[0])))


def _folders(package: str) -> Sequence[str]:
    try:
        check_packages(package.partition(".")[0])
        return import_module(package).__path__
    except InTheWayError as error:
        raise InputError(str(error)) from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        return ()


def _command(file: ModuleType) -> Callable[..., Any] | typer.Typer:
    own = file.__name__.rpartition(".")[2]
    for name in ("app", own, "command"):
        command = getattr(file, name, None)
        if isinstance(command, typer.Typer) or (name != "app" and callable(command)):
            return command
    raise InputError(f"{file.__file__}: no function {own} or command, and no typer app")
