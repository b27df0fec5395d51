"""``servesim.tune``: the best settings of a scenario within some ranges, by trials."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.functions.found import FoundTable
from simulator.functions.inputs import (
    ScenarioLike,
    Settings,
    axis,
    folder_for,
    ignore,
    read_scenario,
    workers_for,
)
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.scenario.given import LabelledPolicy
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval
from simulator.studies.study_file import flat, is_count
from simulator.studies.tune import output, picture
from simulator.studies.tune.methods import METHODS
from simulator.studies.tune.space import Knob, knob_of, space_of
from simulator.studies.tune.tune import (
    BATCH,
    CHECKS,
    TRIALS,
    FoundSettings,
    SettingsSearch,
    judge_of,
    run_search,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure


class TuneResult(FoundTable):
    """The trials of a search, and the best of them."""

    def __init__(self, found: FoundSettings) -> None:
        """Wrap what a search found."""
        self.found = found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the best trial by key; empty if that is the scenario as it is, or none ran."""
        return dict(self.found.best.settings) if self.found.best is not None else {}

    @property
    def keeps(self) -> bool:
        """Whether the best trial keeps all targets."""
        return self.found.best is not None and self.found.best.feasible

    @property
    def scenario(self) -> Scenario | None:
        """The scenario with the best settings; None if no trial ran."""
        return self.found.scenario(self.found.best) if self.found.best is not None else None

    @property
    def difference(self) -> Interval | None:
        """The objective of the best less that of the scenario as it is, paired over other seeds; None: not known."""
        return self.found.check.difference if self.found.check is not None else None

    @cached_property
    def table(self) -> "pa.Table":
        """A row a trial: its number (0: the scenario as it is), settings, class, reason, all its numbers."""
        return output.table(self.found)

    def figure(self) -> "Figure":
        """Return the objective by trial; raises InputError if no trial ran."""
        if self.found.best is None:
            raise InputError(f"figure: {output.sentence(self.found)}")
        return picture.figure(self.found)

    def save(self, folder: str | Path) -> list[str]:
        """Write the table, the best scenario and the picture into a folder, as the command does; return the names."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        return output.write(self.found, Path(folder))

    def document(self) -> Document:
        """Return what the command prints."""
        return output.document(self.found)

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        judge = self.found.search.judge
        keys = [knob.key for knob in self.found.search.space.knobs]
        rows = [["trial", "class", judge.objective, *keys]]
        for each in sorted(self.found.trials, key=judge.rank):
            value = each.numbers.get(judge.objective)
            cells = [str(each.settings.get(key, "-")) for key in keys]
            rows.append([str(each.number), each.outcome, number(value), *cells])
        return output.sentence(self.found), rows, []


def tune(
    scenario: ScenarioLike = None,
    space: Mapping[str, Any] | None = None,
    objective: str | None = None,
    target: str | Sequence[str] = (),
    *,
    settings: Settings = None,
    trials: int = TRIALS,
    method: str = METHODS[0],
    seed: int = 0,
    batch: int = BATCH,
    longest_s: float | None = None,
    checks: int = CHECKS,
    out: str | Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    on_progress: Callable[[int, int], None] = ignore,
) -> TuneResult:
    """Find settings that are best by one number and keep all targets.

    ``space`` are dotted keys with a list of values, or a range such as ``{"from": 4, "to": 256, "scale": "log"}``.
    ``objective`` is any number of a summary (default: smooth goodput), ``target`` are bounds such as
    ``"ttft_p99 <= 0.5"``. ``settings`` change keys of all trials, ``method`` is tba-tpe, tpe, tpe-multivariate (which
    need Optuna) or random, ``seed`` that of the choices, of which ``batch`` are made at once. A trial that has not
    served all after ``longest_s`` simulated seconds is too slow. The best and the scenario as it is are compared with
    ``checks`` other seeds. With ``out`` trials are kept in that folder and not simulated again. ``jobs`` run at once
    (default: one a core), or as many as the Ray cluster ``ray`` has cores (an address, any, auto or local).
    ``on_progress`` gets simulations done and simulations in all. Raises InputError, naming the option, for what is
    wrong.
    """
    base, base_dir = read_scenario(scenario, settings)
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"space: expected a dict of scenario keys with values or ranges, got {space!r}")
    for name, value in (("seed", seed), ("checks", checks)):
        if not (value == 0 or is_count(value)):
            raise InputError(f"{name}: expected a whole number >= 0, got {value!r}")
    if longest_s is not None and not isinstance(longest_s, int | float):
        raise InputError(f"longest_s: expected seconds or None, got {longest_s!r}")
    bounds = [target] if isinstance(target, str) else target
    if not isinstance(bounds, Sequence):
        raise InputError(f"target: expected a bound or a list of them, got {target!r}")
    try:
        knobs = [_knob(key, axis(given)) for key, given in flat(space)]
        judge = judge_of(base, objective, list(bounds), longest_s)
        search = SettingsSearch(base, base_dir, space_of(knobs), judge, method, trials, batch, checks, seed)
    except InputError as error:
        raise InputError(str(error).removeprefix("--").replace("longest-s", "longest_s", 1)) from error
    workers = workers_for([base], jobs, ray)
    with folder_for(out) as folder:
        return TuneResult(run_search(search, folder, workers, on_progress))


def _knob(key: str, given: Any) -> Knob:
    """Return a key with its values or its range; raises InputError for policies that are no names or paths."""
    if isinstance(given, list) and any(isinstance(each, LabelledPolicy) for each in given):
        raise InputError(
            f"space.{key}: policies given as classes or instances; expected their names or paths"
        )
    return knob_of(f"space.{key}", key, given)
