"""``servesim.score``: load tests of real servers, by the metrics of a simulation."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.functions.found import FoundTable
from simulator.functions.inputs import Settings, overrides
from simulator.report.comparison import comparison, distinct
from simulator.report.measures import shown
from simulator.report.report import report
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.results.imports import read_runs
from simulator.results.measured import MeasuredResult, measured_result
from simulator.results.vocabulary import numbers
from simulator.scenario.scenario import Scenario
from simulator.scenario.toml import Override, key_of

if TYPE_CHECKING:
    import pyarrow as pa


class ScoreResult(FoundTable):
    """The runs in files of load tests, each a result with the tables of a simulation, by name."""

    def __init__(self, results: Sequence[MeasuredResult]) -> None:
        """At least one result."""
        names = distinct([str(result.manifest["scenario"]["name"]) for result in results])
        self.results = dict(zip(names, results, strict=True))

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """Every metric of each run, by name."""
        return {name: result.summary() for name, result in self.results.items()}

    @property
    def notes(self) -> dict[str, list[str]]:
        """What the files do not say and what follows from it, by name."""
        return {name: list(result.manifest["measured"]["notes"]) for name, result in self.results.items()}

    @cached_property
    def table(self) -> "pa.Table":
        """A row a run: its name, file, tool, every number of its summary by dotted key (null: not measured)."""
        import pyarrow as pa

        found = {name: dict(numbers(summary)) for name, summary in self.summaries.items()}
        facts = [result.manifest["measured"] for result in self.results.values()]
        columns: dict[str, Any] = {
            "run": pa.array(list(found)),
            "file": pa.array([each["file"] for each in facts]),
            "tool": pa.array([each["tool"] for each in facts]),
        }
        for key in dict.fromkeys(key for each in found.values() for key in each):
            values = [each.get(key) for each in found.values()]
            columns[key] = pa.array([None if each is None else float(each) for each in values], pa.float64())
        return pa.table(columns)

    def document(self) -> Document:
        """Return what the command prints.

        Raises InputError for several runs of which some have the time of each token and some do not.
        """
        if len(self.results) == 1:
            (result,) = self.results.values()
            return report(result.manifest, result.summary())
        if len({result.scored_by_token for result in self.results.values()}) > 1:
            raise InputError(
                "score: some files have the time of each token and some do not; expected files of one kind, or --even"
            )
        return comparison(list(self.results), list(self.summaries.values()))

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        summaries = self.summaries
        columns = [
            each
            for each in shown("ranking")
            if any(each.of(summary) is not None for summary in summaries.values())
        ]
        rows = [
            [name, *(number(each.of(summary)) for each in columns)] for name, summary in summaries.items()
        ]
        notes = [f"{name}: {note}" for name, said in self.notes.items() for note in said]
        title = f"{len(rows)} run{'' if len(rows) == 1 else 's'} of real servers"
        return title, [["", *(each.axis for each in columns)], *rows], notes


def check_measures_only(changes: Sequence[Override], where: str = "--set ") -> None:
    """Raise InputError for keys that only a simulation could answer."""
    for change in changes:
        if not f"{key_of(change)}.".startswith(("user.", "slo.", "metrics.", "run.trim_")):
            said = change if isinstance(change, str) else key_of(change)
            raise InputError(
                f"{where}{said}: a saved run can be measured anew only in user.*, slo.*, metrics.* and run.trim_*"
            )


def score_files(files: Sequence[Path], changes: Sequence[Override], *, even: bool) -> ScoreResult:
    """Score the runs in files; arguments as for ``score``, with overrides of a scenario."""
    by = Scenario().with_overrides(changes).model_dump(mode="json")
    return ScoreResult(
        [measured_result(run, path, by, spread_evenly=even) for path in files for run in read_runs(path)]
    )


def score(*files: str | Path, settings: Settings = None, even: bool = False) -> ScoreResult:
    """Score the per-request results of load tests of real servers, by every metric of a simulation.

    ``settings`` are keys of user, slo and metrics; with ``even`` tokens without times count as if they had come evenly.
    Raises InputError, naming the file and the field, for a file that cannot be read.
    """
    if not files:
        raise InputError("score: expected at least one file")
    changes = overrides(settings)
    check_measures_only(changes, "settings: ")
    return score_files([Path(file) for file in files], changes, even=even)
