"""``servesim inspect``: what is in a file of requests."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson
from simulator.cli.output import print_json, say, wrote

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
    from simulator.functions.inspect import inspect

    found = inspect(
        file, format=name, columns=columns, skip_bad=skip_bad, tokenizer=tokenizer, context_tokens=context
    )
    if as_json:
        print_json(found.as_dict())
    else:
        say(found.document())
    if plot is not None:
        from simulator.report import survey as shown

        shown.draw(found.survey, plot)
        wrote("picture", plot)
