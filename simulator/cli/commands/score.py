"""``servesim score``: what a load test of a real server recorded, scored as a simulation is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import AsJson, Measured, NoPlot, Overwrite
from simulator.cli.output import print_json, remark, say, wrote

if TYPE_CHECKING:
    from simulator.results.measured import MeasuredResult

ORDER = 42
TABLES = True
EPILOG = """Examples:

\b
servesim score bench.json --set slo.ttft_s=1
servesim score monday.jsonl tuesday.jsonl --out runs/week
servesim score requests.csv --even
"""


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Per-request results of vllm bench serve, SGLang bench_serving, AIPerf, GenAI-Perf, guidellm or"
            " inference-perf; or a CSV of requests.",
        ),
    ],
    overrides: Measured = None,
    even: Annotated[
        bool,
        typer.Option(
            "--even",
            help="Where only the first and last token of an answer have times, count those between as if they had come"
            " evenly: smooth goodput is then at most what is shown.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records; of several runs, one folder a run in it.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score results of load tests of real servers, with every metric of a simulation."""
    from simulator.functions.score import check_measures_only, score_files

    check_measures_only(overrides or [])
    found = score_files(files, overrides or [], even=even)
    for name, result in found.results.items():
        if out is not None:
            _save(result, out if len(found.results) == 1 else out / _as_folder(name), not no_plot, overwrite)
    if as_json:
        print_json([{"name": name, "summary": each} for name, each in found.summaries.items()])
        return
    told = found.document()
    if len(found.results) > 1:
        for name, notes in found.notes.items():
            for note in notes:
                remark(f"servesim: note: {name}: {note}")
    say(told, kept=out)


def _save(result: "MeasuredResult", folder: Path, plot: bool, overwrite: bool) -> None:
    from simulator.report.plots import overview
    from simulator.results.folders import claimed, whole
    from simulator.results.writing import PICTURE

    with claimed(folder, overwrite) as own:
        result.write(own)
        if plot and result.scored_by_token:
            with whole(own / PICTURE) as part:
                overview(result, part)
    wrote("records", folder)


def _as_folder(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
