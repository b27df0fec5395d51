"""``servesim.sweep``: every combination of values, simulated on all cores."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.functions.found import FoundTable
from simulator.functions.inputs import (
    ScenarioLike,
    Settings,
    axis,
    check_count,
    folder_for,
    ignore,
    read_scenario,
    workers_for,
)
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.stats import Interval
from simulator.studies.points import Point
from simulator.studies.study_file import flat, values
from simulator.studies.sweep import output
from simulator.studies.sweep.figures import figures
from simulator.studies.sweep.sweep import Study, paired_values, run_study
from simulator.studies.workers import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

WHERE = Path("sweep")  # what errors name in place of a study file


class SweepResult(FoundTable):
    """The points of a sweep, in order, with all their numbers."""

    def __init__(self, study: Study, results: output.Results) -> None:
        """``results``: each point with its numbers by dotted key, or with ``error``."""
        self.study, self.results = study, results

    @cached_property
    def table(self) -> "pa.Table":
        """A row a point: the values of the axes, seed, error, every number of its summary by dotted key."""
        return output.table(self.study, self.results)

    @property
    def failed(self) -> list[tuple[Point, str]]:
        """Points that could not be simulated, and why."""
        return [(point, found["error"]) for point, found in self.results if "error" in found]

    def means(self, metric: str) -> dict[tuple[Any, ...], Interval]:
        """Return a number, by dotted key, at each place of the axes: its mean over the seeds with a 95 % interval."""
        return output.by_point(self.study, self.results, metric)

    def figures(self) -> "dict[str, Figure]":
        """Return a picture of each metric that is shown."""
        return figures(self.study, output.drawn(self.study, self.results))

    def save(self, folder: str | Path) -> list[str]:
        """Write the table and the pictures into a folder, as the command does; return the files' names."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        return output.write(self.study, self.results, Path(folder))

    def document(self) -> Document:
        """Return what the command prints."""
        return output.printed(self.study, self.results)

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        shown = output.metrics(self.study)
        found = [self.means(metric) for metric in shown]
        places = list(dict.fromkeys(point.place(self.study.shown) for point, _ in self.results))
        rows = [
            [" ".join(map(str, place)), *(number(at[place].mean if place in at else None) for at in found)]
            for place in places
        ]
        failed = [f"{len(self.failed):,} points failed: see .failed"] if self.failed else []
        title = f"{self.study.name!r}: {len(self.results):,} points of {' x '.join(self.study.shown)}"
        return title, [[" ".join(self.study.shown), *shown.values()], *rows], failed


def run_sweep(
    study: Study,
    folder: Path,
    workers: Workers,
    on_progress: Callable[[int, int], None],
) -> SweepResult:
    """Simulate what is missing of a study in a folder; raises InputError for a metric that no summary has."""
    output.metrics(study), output.goals(study)  # checked before anything is simulated
    return SweepResult(study, run_study(study, folder, workers, on_progress))


def sweep(
    scenario: ScenarioLike = None,
    axes: Mapping[str, Any] | None = None,
    *,
    paired: Sequence[Mapping[str, Any]] = (),
    settings: Settings = None,
    replications: int = 1,
    metrics: Sequence[str] | str = (),
    target: Sequence[str] | str = (),
    name: str = "sweep",
    out: str | Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    on_progress: Callable[[int, int], None] = ignore,
) -> SweepResult:
    """Simulate every combination of the values of some scenario keys.

    ``axes`` are dotted keys with a list of values, or a range as in a study file; policies may be classes and
    instances. ``paired`` are groups of keys whose values go together. ``settings`` change keys at all points,
    ``replications`` are seeds a point, ``metrics`` what is shown, ``target`` bounds that points keep or miss.
    With ``out`` finished points are kept in that folder
    and not simulated again, but for policies given as classes. ``jobs`` run at once (default: one a core), or as many
    as the Ray cluster ``ray`` has cores (an address, any, auto
    or local).
    ``on_progress`` gets points done and points in all. Raises InputError, naming the key, for what is wrong.
    """
    base, base_dir = read_scenario(scenario, settings)
    study = Study(
        WHERE,
        {key: values(WHERE, f"axes.{key}", axis(given)) for key, given in flat(axes or {})},
        paired_values(WHERE, [{key: axis(given) for key, given in flat(group)} for group in paired]),
        base=base,
        replications=check_count("replications", replications),
        name=name,
        metrics=[metrics] if isinstance(metrics, str) else metrics,
        target=[target] if isinstance(target, str) else target,
        base_dir=base_dir,
    )
    workers = workers_for((point.scenario for point in study.points()), jobs, ray)
    with folder_for(out) as folder:
        return run_sweep(study, folder, workers, on_progress)
