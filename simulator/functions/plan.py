"""``servesim.plan``: the cheapest cluster that keeps a target."""

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
    check_count,
    folder_for,
    ignore,
    read_scenario,
    workers_for,
)
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.scenario.origins import given
from simulator.scenario.scenario import Scenario
from simulator.studies.plan import output
from simulator.studies.plan.launch import launch_lines
from simulator.studies.plan.picture import figure
from simulator.studies.plan.plan import FoundPlan, find
from simulator.studies.plan.prices import name as name_of
from simulator.studies.plan.report import report
from simulator.studies.plan.space import PlanFile
from simulator.studies.study_file import flat
from simulator.studies.workers import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

WHERE = Path("plan")  # what errors name in place of a plan file


class PlanResult(FoundTable):
    """The cheapest cluster found, and what became of all others."""

    def __init__(self, found: FoundPlan) -> None:
        """Wrap what a search found."""
        self.found = found

    @property
    def keeps(self) -> bool:
        """Whether the plan keeps the target; if not it is the nearest."""
        return self.found.keeps

    @property
    def name(self) -> str | None:
        """The plan in words, such as ``2 x l40s, vllm_v1``; None if nothing could be simulated."""
        return None if self.found.best is None else name_of(self.found.best)

    @property
    def usd_per_hour(self) -> float | None:
        """Its price, US$ an hour; where electricity is priced, with it."""
        best = self.found.best
        return None if best is None else self.found.usd_per_hour(best)

    @property
    def scenario(self) -> Scenario | None:
        """Its scenario, to be run."""
        return None if self.found.best is None else output.runnable(self.found)

    @property
    def launch(self) -> list[str]:
        """How to start such servers; empty where nothing keeps the target."""
        scenario = self.found.chosen_scenario
        return launch_lines(scenario, self.found.plan.base_dir) if scenario is not None and self.keeps else []

    @cached_property
    def table(self) -> "pa.Table":
        """A row a candidate: what it is, its price (US$ an hour), its state and why, its numbers if simulated."""
        return output.table(self.found)

    def as_dict(self) -> dict[str, Any]:
        """Return everything that is printed, as plan.json has it."""
        return output.summary(self.found)

    def figure(self) -> "Figure":
        """Return price against smooth goodput, the candidates that count by name."""
        return figure(self.found)

    def save(self, folder: str | Path) -> list[str]:
        """Write the table, the plan and the picture into a folder, as the command does; return the files' names."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        return output.write(self.found, Path(folder))

    def document(self) -> Document:
        """Return what the command prints."""
        return report(self.found)

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        found = self.found
        goals = " and ".join(str(goal) for goal in found.plan.goals)
        rows = [["", "US$ an hour", *(goal.metric for goal in found.plan.goals)]]
        for label, place in (
            ("the plan" if found.keeps else "nearest", found.best),
            ("runner-up", found.runner_up),
        ):
            if place is not None:
                values = [number(found.value(place, goal.metric)) for goal in found.plan.goals]
                rows.append([f"{label}: {name_of(place)}", number(found.usd_per_hour(place)), *values])
        said = self.name if found.keeps else "nothing keeps it"
        return f"{goals}: {said}", rows, [f"{found.plan.size:,} candidates, all in .table"]


def find_plan(
    chosen: PlanFile,
    folder: Path,
    workers: Workers,
    on_progress: Callable[[int, int], None],
    *,
    checks: bool,
    each_gpu: bool = False,
) -> PlanResult:
    """Search in a folder that keeps what is simulated; with ``checks`` the plan is tried with other traffic too."""
    try:
        return PlanResult(find(chosen, folder, workers, on_progress, robustness=checks, each_gpu=each_gpu))
    finally:
        workers.close()


def plan(
    scenario: ScenarioLike = None,
    target: str | Sequence[str] = (),
    *,
    space: Mapping[str, Any] | None = None,
    mixes: Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
    settings: Settings = None,
    replications: int | None = None,
    checks: bool = True,
    each_gpu: bool = False,
    allow_unvalidated: bool = False,
    name: str = "plan",
    out: str | Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    on_progress: Callable[[int, int], None] = ignore,
) -> PlanResult:
    """Find which GPUs, how many, which policy and settings keep a target at the least price.

    ``target`` is one or several of ``"ttft_p99 <= 1.0"`` or ``"token_slo >= 0.9"``; ``space`` has the keys that
    a plan file's ``[space]`` has: gpus, tensor_parallel, shapes, replicas, policies, settings; ``mixes`` and
    ``budget`` those of its tables of these names. ``scenario`` is the
    traffic and all that the space does not vary. With ``checks`` the plan is also tried with other traffic,
    with ``each_gpu`` the cheapest cluster of every GPU type is searched for. GPUs that ``space`` does not name are
    those on which a server was measured, with ``allow_unvalidated`` all with measured step times. With
    ``out`` simulations are kept in that folder. ``jobs`` run at once, or as many as the Ray cluster ``ray`` has cores
    (an address, any, auto or local). ``on_progress`` gets simulations done and known to be needed. Raises
    InputError, naming the key, for what is wrong; a policy has to be in a file, as the plan is a file to be run.
    """
    given_space = {} if space is None else space
    own = given_space.get("settings", {}) if isinstance(given_space, Mapping) else {}
    for key, value in (("space", given_space), ("space.settings", own)):
        if not isinstance(value, Mapping):
            raise InputError(f"plan: {key}: expected a dict, got {value!r}")
    base, base_dir = read_scenario(scenario, settings)
    base = base.with_overrides(["run.trace_level=none"])  # proofs on a part need every token
    if given(base):
        base.to_toml()  # raises for a policy that no file stands for
    varied = {key: axis(value) for key, value in given_space.items()}
    varied["settings"] = {key: axis(value) for key, value in flat(own)}
    if "settings" not in given_space:
        del varied["settings"]  # the usual ones
    if replications is not None:
        check_count("replications", replications)
    goals = [target] if isinstance(target, str) else list(target)
    chosen = PlanFile.of(
        WHERE, name, base, base_dir, goals, varied, replications, allow_unvalidated, mixes, budget
    )
    workers = workers_for([chosen.base], jobs, ray)
    with folder_for(out) as folder:
        return find_plan(chosen, folder, workers, on_progress, checks=checks, each_gpu=each_gpu)
