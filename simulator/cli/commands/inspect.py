"""``servesim inspect``: what is in a file of requests."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson
from simulator.cli.output import print_json, say, wrote
from simulator.errors import InputError

ORDER = 35
EPILOG = "Example: servesim inspect requests.csv --columns arrival=ts:iso,prompt=tokens_in,output=tokens_out"


def command(
    file: Annotated[str, typer.Argument(help="A file of requests, or the name of a shipped trace.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Its format; without: told by its content.",
            autocompletion=completion.trace_formats,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAME=COLUMN,...", help="What its columns hold, as workload.columns says it."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Say nothing of rows that a run refuses, but how many they are."),
    ] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Counts the tokens of texts: tokenizer.json, its folder, or a hub's name."
        ),
    ] = None,
    context: Annotated[
        int, typer.Option(metavar="TOKENS", min=1, help="Longest request that a model takes.")
    ] = 131_072,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw rates, lengths and gaps.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in a file of requests: format, rates, lengths, sessions, shared prefixes, and what is odd."""
    from simulator.report import survey as shown
    from simulator.results.imports import tool_of
    from simulator.workload import library
    from simulator.workload.recognise import ReadAs
    from simulator.workload.survey import survey
    from simulator.workload.tokenizer import load

    shipped = {**library.shipped_samples(), **library.shipped_traces()}
    path = shipped.get(file) or library.find_table("file", file, list(shipped), None, True)
    counter = None if tokenizer is None else load(tokenizer)
    try:
        found = survey(path, ReadAs(name, columns, skip_bad, skip_bad, tokenizer=counter), context)
    except InputError as error:
        tool = tool_of(path) if path.suffix.lower() in (".json", ".jsonl") else None
        if tool is None:
            raise
        raise InputError(
            f"{path}: results of a load test ({tool}), which sent its requests already; expected it with: servesim"
            f" score {path} (or servesim replay, to simulate the same requests)"
        ) from error
    if as_json:
        print_json(found.as_dict())
    else:
        say(shown.text(found))
    if plot is not None:
        shown.draw(found, plot)
        wrote("picture", plot)
