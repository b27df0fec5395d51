"""The commands, found by their file names: one file, one command, no registration.

``simulator/cli/commands/<name>.py``, or ``experiments/commands/<name>.py``, is the command ``<name>``: its function of
that name or ``command``, or, for one with commands of its own, its typer ``app``. EPILOG is what its help ends with,
ORDER its place in the list of commands (without one: after the others), TABLES whether it prints some and takes
``--format``.
"""

import functools
import inspect
import math
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson, with_values
from simulator.cli.output import speaking
from simulator.errors import InputError
from simulator.in_the_way import InTheWayError, check_packages
from simulator.results.folders import ROOT

PACKAGES = ("simulator.cli.commands", "experiments.commands")  # one that is not there has no commands
INTERRUPTED = 130
HELP = ("-h", "--help")


def call(arguments: Sequence[str]) -> int:
    """Call the command that the arguments name; return its exit code."""
    try:
        code = _built_for(arguments)(args=with_values(arguments), prog_name="servesim", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as error:  # click's way to say that the reader of a help page has gone
        raise BrokenPipeError from error
    if code == INTERRUPTED:  # typer's way to hand on a Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0  # validate's, where a bar is missed


def _built_for(arguments: Sequence[str]) -> typer.Typer:
    """Return as much of the command as these arguments need: options of 20 commands take longer than a help page."""
    if completion.is_asked():  # whose words are not among the arguments
        return build()
    if arguments[0] in HELP and len(arguments) == 1:
        return build({name: _listed(file) for name, file in commands().items()})
    files = _files()
    return build({arguments[0]: import_module(files[arguments[0]])} if arguments[0] in files else None)


def build(files: Mapping[str, ModuleType] | None = None) -> typer.Typer:
    """Return the whole command, or one that has the commands of these files alone."""
    app = typer.Typer(
        help="Simulate LLM serving: exact token traces, classic metrics and smooth goodput.",
        epilog="Begin with: servesim run   (an hour of real chat traffic on two H100s)",
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP)},
    )
    app.callback(invoke_without_command=True)(_servesim)
    for name, file in (commands() if files is None else files).items():
        command, tables = _command(file), getattr(file, "TABLES", False)
        if isinstance(command, typer.Typer):
            for each in command.registered_commands:
                assert each.callback is not None
                each.callback = with_output_options(each.callback, tables)
            app.add_typer(command, name=name)
        else:
            app.command(name=name, epilog=getattr(file, "EPILOG", None))(with_output_options(command, tables))
    return app


FORMATS = ("plain", "md", "latex", "csv", "json")
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and the path of the result.")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="Of the tables that are printed; plain: as wide as the terminal.",
        autocompletion=lambda incomplete: [name for name in FORMATS if name.startswith(incomplete)],
    ),
]


def with_output_options(command: Callable[..., Any], tables: bool) -> Callable[..., Any]:
    """Return a command that has ``--quiet`` besides, which all have, and ``--format`` if it prints tables.

    Where it has no ``--json`` of its own, that is ``--format json``.
    """
    signature = inspect.signature(command)
    if "quiet" in signature.parameters:
        return command
    own: dict[str, tuple[Any, Any]] = {"quiet": (Quiet, False)}
    if tables:
        own = {"printed_as": (Format, "plain"), **own}
    if tables and "as_json" not in signature.parameters:
        own["tables_as_json"] = (AsJson, False)

    @functools.wraps(command)
    def outspoken(
        *args: Any, quiet: bool = False, printed_as: Any = "plain", tables_as_json: bool = False, **more: Any
    ) -> Any:
        if tables_as_json:
            printed_as = "json"
        if printed_as not in FORMATS:
            raise InputError(f"--format {printed_as}: expected one of {', '.join(FORMATS)}")
        with speaking(quiet, printed_as):
            return command(*args, **more)

    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in own.items()
    ]
    parameters = [*signature.parameters.values(), *options]
    outspoken.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    outspoken.__annotations__ = {
        **command.__annotations__,
        **{name: annotation for name, (annotation, _) in own.items()},
    }
    return outspoken


def _servesim(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print what this is a version of, and stop.")
    ] = False,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Below which commands write what they keep. Default: $SERVESIM_RUNS, or runs.",
        ),
    ] = None,
) -> None:
    if runs is not None:
        context.with_resource(_below(runs))
    if version:
        from simulator.cli.version import versions

        print(versions())
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise InputError("expected a command; see: servesim --help")


@contextmanager
def _below(root: Path) -> Iterator[None]:
    """Have commands write below a folder, also those in other processes."""
    before = os.environ.get(ROOT)
    os.environ[ROOT] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ[ROOT]
        else:
            os.environ[ROOT] = before


def commands() -> dict[str, ModuleType]:
    """Return the file of each command by name, in the order of the help."""
    found = {name: import_module(file) for name, file in _files().items()}
    return dict(sorted(found.items(), key=lambda each: (getattr(each[1], "ORDER", math.inf), each[0])))


def _files() -> dict[str, str]:
    """Return the module of each command, which is not imported."""
    return {
        file.name.replace("_", "-"): f"{package}.{file.name}"
        for package in PACKAGES
        for file in pkgutil.iter_modules(_folders(package))
        if not file.name.startswith("_")
    }


def _listed(file: ModuleType) -> ModuleType:
    """Return what the list of commands says of a file: its command without options, or without commands of its own."""
    command, listed = _command(file), ModuleType(file.__name__)
    if isinstance(command, typer.Typer):
        vars(listed)["app"] = typer.Typer(help=command.info.help)
        return listed

    def command_without_options() -> None: ...

    command_without_options.__doc__ = command.__doc__
    vars(listed)["command"] = command_without_options
    return listed


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
