"""``servesim explain``: why requests of a saved run took as long as they did."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import AsJson
from simulator.cli.output import print_json, say
from simulator.errors import InputError

ORDER = 41
EPILOG = "Example: servesim explain runs/a 17   (the slowest three: servesim explain runs/a)"


def explain(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of a saved run, of trace level tokens.", autocompletion=completion.runs),
    ],
    requests: Annotated[
        list[int] | None,
        typer.Argument(metavar="[REQUEST ...]", help="Requests by number; default: the slowest."),
    ] = None,
    slowest: Annotated[int, typer.Option(min=1, max=1000, help="How many of the slowest.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what requests waited for: a sentence a phase, which add up."""
    from simulator.report.explain import explain as explained
    from simulator.report.explain import slowest as the_slowest
    from simulator.report.explain_measured import explain_measured, slowest_measured
    from simulator.report.phases import Histories
    from simulator.report.tables import Document, Words
    from simulator.results.measured import MeasuredResult
    from simulator.results.result import Result

    result = Result.load(folder)
    histories = None if isinstance(result, MeasuredResult) else Histories.of(result)
    count = result.log.n
    for request in requests or []:
        if not 0 <= request < count:
            raise InputError(f"explain: no request {request}; expected a number from 0 to {count - 1}")
    if histories is None:
        assert isinstance(result, MeasuredResult)
        chosen = requests or slowest_measured(result, slowest)
        told = [explain_measured(result, each) for each in chosen]
    else:
        chosen = requests or the_slowest(histories, slowest).tolist()
        told = [explained(histories, each) for each in chosen]
    if not as_json:
        say(Document([Words(each.splitlines()) for each in told]))
        return
    phases = [[] if histories is None else histories.phases(each) for each in chosen]
    print_json([
        {"request": request, "phases": [each._asdict() for each in did], "said": words.splitlines()}
        for request, did, words in zip(chosen, phases, told, strict=True)
    ])  # fmt: skip
