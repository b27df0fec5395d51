"""What the experiments share: cached runs, figures, and how a verdict is written down.

An experiment is one file ``experiments/paper/ID_name.py`` with a docstring and ``run(study)``, which returns a
``Verdict``; it is found by its name, and has its place in the protocol's order.
"""

import csv
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from experiments.paper._measuring import LOG_COLUMNS, Reading, RunSummary, columns_of, measured_by, summaries
from experiments.paper._protocol import PROTOCOL
from simulator.arrays import Columns
from simulator.cli.terminal import counting
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Origin, Slo, UserModel
from simulator.report.style import COLOURS, axes, label_panels
from simulator.results.folders import whole
from simulator.scenario.engines import engine_names
from simulator.scenario.scenario import Scenario
from simulator.studies.processes import code_digest
from simulator.studies.workers import ALONE, Workers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.result import Result

__all__ = [
    "COLOURS",
    "MATERIAL",
    "ORIGINS",
    "SOME",
    "Reading",
    "RunSummary",
    "Study",
    "Verdict",
    "Workers",
    "axes",
    "check",
    "label_panels",
    "main",
]

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")
SOME = PROTOCOL.some
MATERIAL = PROTOCOL.margin

ORIGINS: tuple[Origin, ...] = ("arrival", "first_token")
_POOL_FROM = 4  # simulations that are missing; fewer are not worth starting processes for


Outcome = Literal["reproduced", "partly reproduced", "not reproduced"]


@dataclass(frozen=True)
class Verdict:
    """What an experiment found, computed by the test that its file states."""

    outcome: Outcome
    claim: str  # what the paper reports, in one sentence
    numbers: str  # the figures that decide, with 95 % intervals, and what was only checked
    found: str = ""  # what we find, in a sentence or two, for the caption
    readings: Mapping[str, Outcome] = field(default_factory=dict)  # the outcome under others, by title


def check(holds: bool, what: str) -> None:
    """Raise RuntimeError if something does not hold that cannot fail: it follows from a definition, and is no finding.

    A failure is a fault of this program.
    """
    if not holds:
        raise RuntimeError(f"check failed: {what}")


class Study:
    """What an experiment gets: its folder, its seeds, cached simulations, and where figures go."""

    def __init__(self, out: Path, quick: bool = False, workers: Workers = ALONE) -> None:
        """``out`` is the folder of this experiment and is made; the cache is beside it, shared by all."""
        self.out = out
        self.quick = quick
        self.workers = workers  # that simulate
        self.files: list[str] = []  # what was written into ``out``, in order
        self.engines: dict[str, None] = {}  # on which it was simulated, in order
        out.mkdir(parents=True, exist_ok=True)

    @property
    def seeds(self) -> tuple[int, ...]:
        """0 to 2 in quick mode, else 0 to 4."""
        return self.first_seeds(5)

    def first_seeds(self, n: int) -> tuple[int, ...]:
        """Return the first ``n`` seeds; in quick mode no more than three."""
        return tuple(range(min(n, 3) if self.quick else n))

    def summaries(
        self,
        scenarios: Sequence[Scenario],
        *,
        user: UserModel | None = None,
        slo: Slo | None = None,
        label: str = "simulating",
    ) -> list[RunSummary]:
        """Return ``Result.summary(user, slo)`` of every scenario, simulating those that are not cached."""
        return self.readings(scenarios, [Reading(user, slo)], label=label)[0]

    def both_origins(
        self,
        scenarios: Sequence[Scenario],
        *,
        user: UserModel | None = None,
        slo: Slo | None = None,
        label: str = "simulating",
    ) -> dict[Origin, list[RunSummary]]:
        """Return the summaries under both readings of where the deadlines' clock starts, simulating once.

        Only the measure changes, not what policies are told; ``user`` defaults to the standard reader.
        """
        options = vars(user or UserModel())
        users = [UserModel(**{**options, "origin": origin}) for origin in ORIGINS]
        readings = [Reading(each, slo) for each in users]
        return dict(zip(ORIGINS, self.readings(scenarios, readings, label=label), strict=True))

    def readings(
        self, scenarios: Sequence[Scenario], readings: Sequence[Reading], *, label: str = "simulating"
    ) -> list[list[RunSummary]]:
        """Return for each reading the summaries of all scenarios; each scenario is simulated once."""
        found = self.each(scenarios, summaries, readings, label=label)
        return [[summaries[i] for summaries in found] for i in range(len(readings))]

    def each(
        self,
        scenarios: Sequence[Scenario],
        measure: Callable[["Result", Any], Any],
        what: Any = None,
        *,
        label: str = "simulating",
    ) -> list[Any]:
        """Return ``measure(result, what)`` of every scenario, simulating those of which it is not cached.

        ``measure`` is a function of a module, and returns what JSON can hold. What is done is on disk at once: a run
        that was cut short goes on from there.
        """
        self.engines |= dict.fromkeys(map(engine_names, scenarios))
        source = Path(inspect.getfile(measure)).read_bytes()  # what is measured may be changed, too
        name = f"{measure.__module__}.{measure.__qualname__}.{hashlib.sha256(source).hexdigest()[:16]}"
        paths = [self._kept(scenario, [name, what], "json") for scenario in scenarios]
        missing = {
            path: scenario for path, scenario in zip(paths, scenarios, strict=True) if not path.exists()
        }
        asked = {path: (scenario, (measure, what)) for path, scenario in missing.items()}
        with counting(label, len(missing)) as on_done:
            for done, (path, found) in enumerate(self.workers.done(measured_by, asked, _POOL_FROM), 1):
                with whole(path) as part:
                    part.write_text(json.dumps(found), encoding="utf-8")
                on_done(done, len(missing))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def per_request(
        self, scenario: Scenario, columns: Sequence[str] = ("arrival_s", "token_offsets", "delivered_s")
    ) -> Columns:
        """Return columns of a run, cached: any of ``RequestLog``'s (``ttft_s``, ``tbt_max_s``, ``state``, ...),

        ``idle_s``, ``benefit_tokens`` and ``meets_token_slo`` under the scenario's own user, and columns of
        the tables as ``requests.NAME``, ``tokens.NAME`` or ``steps.NAME``.
        """
        self.simulate([scenario], columns)
        with np.load(self._kept(scenario, sorted(columns), "npz")) as kept:
            return {name: kept[name] for name in columns}

    def simulate(
        self,
        scenarios: Sequence[Scenario],
        columns: Sequence[str] = LOG_COLUMNS,
        *,
        label: str = "simulating",
    ) -> None:
        """Have what ``per_request``, or by default ``log``, returns of every scenario cached, several at once."""
        self.engines |= dict.fromkeys(map(engine_names, scenarios))
        paths = {self._kept(scenario, sorted(columns), "npz"): scenario for scenario in scenarios}
        missing = {path: scenario for path, scenario in paths.items() if not path.exists()}
        asked = {path: (scenario, columns) for path, scenario in missing.items()}
        with counting(label, len(missing)) as on_done:
            for done, (path, found) in enumerate(self.workers.done(columns_of, asked, _POOL_FROM), 1):
                with whole(path) as part:
                    np.savez_compressed(part, **found)  # type: ignore[arg-type]
                if len(missing) > 1:
                    on_done(done, len(missing))

    def log(self, scenario: Scenario) -> RequestLog:
        """Return the delivery record of a run, cached: what every metric is a function of."""
        kept: dict[str, Any] = dict(self.per_request(scenario, LOG_COLUMNS))
        return RequestLog(**{name: column if column.ndim else column.item() for name, column in kept.items()})

    def save(self, figure: "Figure", name: str) -> None:
        """Write a figure as PNG (200 dpi) and PDF; below it stands on which engine it was simulated."""
        layout = figure.get_layout_engine()
        if self.engines:
            if layout is not None:
                line = 7 / 72 / figure.get_figheight()  # of its own, below the labels of the axes
                layout.set(rect=(0, line, 1, 1 - line))  # type: ignore[call-arg]
            figure.text(
                0.998, 0.002, f"engine: {', '.join(self.engines)}", ha="right", va="bottom", fontsize=4.5
            )
        figure.savefig(self.out / f"{name}.png")
        figure.savefig(self.out / f"{name}.pdf", metadata={"CreationDate": None})
        self.files += [f"{name}.png", f"{name}.pdf"]

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write the data behind a figure: columns of equal length as CSV."""
        with (self.out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        self.files.append(f"{name}.csv")

    def _kept(self, scenario: Scenario, reading: Any, kind: str) -> Path:
        """Where something about a scenario is kept: named after all that it depends on."""
        content = [code_digest(), scenario.model_dump(mode="json"), reading]
        text = json.dumps(content, sort_keys=True, default=vars)
        return self.out.parent / "cache" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.{kind}"


def main(run: Callable[[Study], Verdict]) -> None:
    """Run one experiment from its own file: ``python -m experiments.paper.ID_name [--quick]``."""
    import sys

    from simulator.cli import main as cli

    name = Path(inspect.getfile(run)).stem
    sys.exit(cli.main(["reproduce", name, *sys.argv[1:]]))
