"""The page of ``servesim report``, and of ``--report`` with other commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.output import tell
from simulator.cli.saved_runs import MANIFEST, measured_alike
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.report.report import Summary
    from simulator.results.result import Result
    from simulator.results.scoring import Scoring

ReportTo = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write a page (HTML) that shows the results."),
]
_MOST_RUNS = 12  # beside one another; more are a sweep


def saved_document(
    folders: Sequence[Path], overrides: Sequence[str], different_traffic: bool
) -> dict[str, Any]:
    """Return the document of saved runs, or of one folder of a sweep or a plan.

    Raises InputError for what is none of these, and for runs of different traffic unless that is asked for.
    """
    for folder in folders:
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise InputError(
                f"report: {folder}: {what}; expected the folder of a saved run, a sweep or a plan"
            )
    if len(folders) == 1 and not (folders[0] / MANIFEST).exists():
        from simulator.studies.page import study_document

        document = study_document(folders[0])
        if document is not None:
            if overrides:
                raise InputError(
                    f"--set {overrides[0]}: {folders[0]} is no run; expected none with a sweep or a plan"
                )
            return document
    return _runs(folders, overrides, different_traffic)


def _runs(folders: Sequence[Path], overrides: Sequence[str], different_traffic: bool) -> dict[str, Any]:
    from simulator.report.comparison import distinct
    from simulator.results.result import Result
    from simulator.results.scoring import Scoring

    if len(folders) > _MOST_RUNS:
        raise InputError(
            f"report: {len(folders)} runs; expected at most {_MOST_RUNS}, or the folder of a sweep"
        )
    replications = [_seeds(folder) for folder in folders]
    counts = {len(each) for each in replications}
    if len(counts) > 1:
        raise InputError(
            "report: some runs were repeated with more seeds than others; expected as many of each"
        )
    results = [Result.load(each[0]) for each in replications]
    names = distinct([folder.resolve().name for folder in folders])
    base, notes = measured_alike(names, results, overrides, different_traffic)
    scoring = Scoring(base.user, base.slo, base.window, base.metrics.also)
    summaries = None
    if counts != {1}:
        summaries = [
            _summaries(each, first, scoring) for each, first in zip(replications, results, strict=True)
        ]
    return document_of(names, results, scoring, notes, summaries)


def saved_rates(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the document of saved runs at several rates; InputError as ``rates_document``."""
    from simulator.report.html.rates import rates_document
    from simulator.results.result import Result

    return rates_document([Result.load(folder) for folder in folders])


def _summaries(folders: Sequence[Path], first: "Result", scoring: "Scoring") -> "list[Summary]":
    from simulator.results.result import Result

    asked = (scoring.user, scoring.slo, scoring.window, scoring.also)
    return [first.summary(*asked), *(Result.load(folder).summary(*asked) for folder in folders[1:])]


def _seeds(folder: Path) -> list[Path]:
    """Return the folders of a run's replications, in order of seed; the folder itself where it is one run."""
    if (folder / MANIFEST).exists():
        return [folder]
    found = [each for each in folder.glob("seed-*") if (each / MANIFEST).exists()]
    return sorted(found, key=lambda each: (len(each.name), each.name)) or [folder]


def document_of(
    names: Sequence[str],
    results: "Sequence[Result]",
    scoring: "Scoring",
    notes: Sequence[str] = (),
    summaries: "Sequence[Sequence[Summary]] | None" = None,
) -> dict[str, Any]:
    """Return the document of runs, with the version that made it."""
    from simulator.cli.version import versions
    from simulator.report.html.document import runs_document

    document = runs_document(names, results, scoring, notes, summaries)
    return document | {"made": f"Made by {versions().splitlines()[0]}."}


def write_report(document: Mapping[str, Any], path: Path, overwrite: bool) -> None:
    """Write the page of a document; InputError for a path that cannot be one."""
    from simulator.report.html.page import write_page

    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file, as in {path / 'report.html'}")
    if path.exists() and not overwrite:
        raise InputError(f"--out {path}: exists; expected a new path, or --overwrite")
    write_page(document, path)


def report_of_study(folder: Path, path: Path | None) -> None:
    """Write the page of ``--report`` for what a study has left in its folder."""
    if path is not None:
        report_beside(saved_document([folder], (), False), path)


def report_beside(document: Mapping[str, Any], path: Path | None) -> None:
    """Write the page of ``--report`` and say where it is."""
    if path is not None:
        write_report(document, path, overwrite=True)
        tell(f"report: {path}")
