"""``servesim.capacity``: the highest rate that keeps a target, or the best one, with an interval."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.functions.found import FoundTable
from simulator.functions.inputs import (
    ScenarioLike,
    Settings,
    check_count,
    folder_for,
    ignore,
    read_scenario,
    workers_for,
)
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.scenario.scenario import Scenario
from simulator.studies.capacity import output
from simulator.studies.capacity.outcome import CapacityOutcome
from simulator.studies.capacity.several import CapacitySearch, highest_rate_for_all
from simulator.studies.capacity.target import parse_targets
from simulator.studies.workers import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure


class CapacityResult(FoundTable):
    """A rate with its interval, and the simulations that led to it."""

    def __init__(self, outcome: CapacityOutcome) -> None:
        """Wrap what a search found."""
        self.outcome = outcome

    @property
    def rate(self) -> float | None:
        """The answer, requests/s (of sessions: sessions/s); None if no rate keeps the target."""
        return self.outcome.answer.rate

    @property
    def low(self) -> float | None:
        """The highest rate shown to hold, or to be below the best one; None if none was shown."""
        return self.outcome.answer.low

    @property
    def high(self) -> float | None:
        """The lowest rate shown to fail, or to be above the best one; None if none was shown."""
        return self.outcome.answer.high

    @property
    def confidence(self) -> float | None:
        """With which both ends are right; None where nothing is random."""
        return self.outcome.answer.confidence

    @property
    def gpus(self) -> float:
        """GPUs that serve at the answer."""
        return self.outcome.gpus

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the answer."""
        return self.outcome.notes()

    @cached_property
    def table(self) -> "pa.Table":
        """A row a simulation: rate, seed, requests, why it was saturated (null: it was not), all its numbers."""
        return output.simulations(self.outcome)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in plain numbers, as answer.json has it."""
        return self.outcome.as_json()

    def figure(self) -> "Figure":
        """Return the target's metric and smooth goodput over the rate."""
        return output.figure(self.outcome)

    def save(self, folder: str | Path) -> list[str]:
        """Write the table, the answer and the picture into a folder, as the command does; return the files' names."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        output.write(self.outcome, Path(folder))
        return list(output.FILES)

    def document(self) -> Document:
        """Return what the command prints."""
        return output.report(self.outcome)

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        found, unit = self.outcome, f"{self.outcome.of}/s"
        rows = [["", unit, f"{unit} and GPU"]]
        for name, rate in (("answer", self.rate), ("low", self.low), ("high", self.high)):
            rows.append([name, number(rate), number(None if rate is None else rate / self.gpus)])
        return f"{found.target.text}: {number(self.rate)} {unit}", rows, self.notes


def find_capacity(
    scenario: Scenario,
    base_dir: Path | None,
    target: str | Sequence[str],
    folder: Path,
    workers: Workers,
    on_progress: Callable[[int, int], None],
    *,
    within: float = 0.05,
    confidence: float = 0.95,
    requests: int | None = None,
    most_requests: int | None = None,
    most_simulations: int = 100,
) -> CapacityResult:
    """Search in a folder that keeps what is simulated; arguments as for ``capacity``."""
    how = CapacitySearch(within, confidence, requests, most_requests, most_simulations, workers)
    outcome = highest_rate_for_all(
        scenario, base_dir, parse_targets([target] if isinstance(target, str) else target), folder / "points", how,
        lambda done: on_progress(done, most_simulations),
    )  # fmt: skip
    return CapacityResult(outcome)


def capacity(
    scenario: ScenarioLike = None,
    target: str | Sequence[str] = "smooth",
    *,
    settings: Settings = None,
    within: float = 0.05,
    confidence: float = 0.95,
    requests: int | None = None,
    most_requests: int | None = None,
    most_simulations: int = 100,
    out: str | Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    on_progress: Callable[[int, int], None] = ignore,
) -> CapacityResult:
    """Find the highest request rate that keeps a target, or the best one.

    ``target`` is ``"ttft_p99<=0.5"``, ``"token_slo>=0.99"``, ``"stable"``, or a key whose largest value is wanted;
    several must all be kept.
    ``within`` is the wanted half-width of the answer (relative), ``confidence`` that of both its ends. ``requests``
    are those of a run at first, ``most_requests`` at most, ``most_simulations`` all that may be made. With ``out`` they
    are kept in that folder and not made again, but for policies given as classes. ``jobs`` run at once (default: one a
    core), or as many as the Ray cluster ``ray`` has cores (an address, any, auto
    or local).
    ``on_progress`` gets simulations done and the most allowed. Raises InputError for a target or traffic that
    has no such rate.
    """
    for name, value, least, most in (("within", within, 0.001, 0.5), ("confidence", confidence, 0.5, 0.9999)):
        if not isinstance(value, int | float) or not least <= value <= most:
            raise InputError(f"{name}: expected a number from {least} to {most}, got {value!r}")
    for name, count in (("requests", requests), ("most_requests", most_requests)):
        if count is not None and check_count(name, count) < 100:
            raise InputError(f"{name}: expected at least 100, got {count}")
    check_count("most_simulations", most_simulations)
    chosen, base_dir = read_scenario(scenario, settings)
    workers = workers_for([chosen], jobs, ray)
    with folder_for(out) as folder:
        return find_capacity(
            chosen, base_dir, target, folder, workers, on_progress, within=within, confidence=confidence,
            requests=requests, most_requests=most_requests, most_simulations=most_simulations,
        )  # fmt: skip
