"""``servesim inspect``: what is in a file of requests."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import AsJson

ORDER = 35
EPILOG = "Example: servesim inspect requests.csv --columns arrival=ts:iso,prompt=tokens_in,output=tokens_out"


def command(
    file: Annotated[str, typer.Argument(help="A file of requests, or the name of a shipped trace.")],
    name: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Its format; without: told by its content.")
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
        sys.stdout.write(json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(str(found))
    if plot is not None:
        from simulator.report import survey as shown

        shown.draw(found.survey, plot)
        print(f"picture: {plot}", file=sys.stderr)
