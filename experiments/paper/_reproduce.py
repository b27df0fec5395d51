"""What the experiments c1 to c9 share: scenarios, cached runs, figures, and how a verdict is written down.

An experiment is one file ``experiments/cN_name.py`` with a docstring, ``CLAIM_ID`` and ``run(study)``, which
returns a ``Verdict``; it is found by its name.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from simulator.arrays import Columns
from simulator.cli.terminal import counting
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Origin, Slo, UserModel
from simulator.metrics._reader import benefit_tokens, idle_latency_s, meets_token_slo
from simulator.metrics._window import Window
from simulator.report.style import COLOURS, STYLE, axes, label_panels
from simulator.results.folders import whole
from simulator.scenario.engines import engine_names
from simulator.scenario.scenario import Scenario
from simulator.studies.processes import close_pools, code_digest, pool_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "MATERIAL",
    "ORIGINS",
    "SOME",
    "STYLE",
    "Reading",
    "RunSummary",
    "Study",
    "Verdict",
    "axes",
    "check",
    "close_pools",
    "label_panels",
    "main",
]

RunSummary = dict[str, Any]
_Key = TypeVar("_Key")
_Found = TypeVar("_Found")
SOME = 0.1  # share of the cases that makes "some", one for all claims; chance makes one case in one of 20 repetitions
MATERIAL = 0.005  # share of the tokens: a change of smooth goodput that counts, one margin for all claims

ORIGINS: tuple[Origin, ...] = ("arrival", "first_token")
LOG_COLUMNS = tuple(field.name for field in fields(RequestLog) if field.name not in ("v_s_per_token", "run"))
_POOL_FROM = 4  # simulations that are missing; fewer are not worth starting processes for


@dataclass(frozen=True)
class Verdict:
    """What an experiment found, computed by the test that its file states."""

    outcome: Literal["reproduced", "partly reproduced", "not reproduced"]
    claim: str  # one sentence
    numbers: (
        str  # the figures that decide, with 95 % intervals, in a sentence or two; and what was only checked
    )


class Reading(NamedTuple):
    """By what a run is scored; None: as the scenario says."""

    user: UserModel | None = None
    slo: Slo | None = None
    window: Window | None = None


def check(holds: bool, what: str) -> None:
    """Raise RuntimeError if something does not hold that cannot fail: it follows from a definition, and is no finding.

    A failure is a fault of this program.
    """
    if not holds:
        raise RuntimeError(f"check failed: {what}")


class Study:
    """What an experiment gets: its folder, its seeds, cached simulations, and where figures go."""

    def __init__(self, out: Path, quick: bool = False, jobs: int = 1) -> None:
        """``out`` is the folder of this experiment and is made; the cache is beside it, shared by all."""
        self.out = out
        self.quick = quick
        self.jobs = jobs  # simulations at once
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
        """Return for each reading the summaries of all scenarios; each scenario is simulated once.

        What is done is on disk at once: a run that was cut short goes on from there.
        """
        self.engines |= dict.fromkeys(map(engine_names, scenarios))
        wanted = [[self._kept(scenario, reading, "json") for scenario in scenarios] for reading in readings]
        missing = {
            paths: scenario
            for paths, scenario in zip(zip(*wanted, strict=True), scenarios, strict=True)
            if not all(path.exists() for path in paths)
        }
        with counting(label) as on_done:
            for done, (paths, found) in enumerate(self._done(missing, _measure, readings), 1):
                for path, summary in zip(paths, found, strict=True):
                    with whole(path) as part:
                        part.write_text(json.dumps(summary), encoding="utf-8")
                on_done(done, len(missing))
        return [[json.loads(path.read_text(encoding="utf-8")) for path in paths] for paths in wanted]

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
        with counting(label) as on_done:
            for done, (path, found) in enumerate(self._done(missing, _columns, columns), 1):
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
        figure.savefig(self.out / f"{name}.png", dpi=200)
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

    def _done(
        self, missing: Mapping[_Key, Scenario], work: Callable[[Scenario, Any], _Found], what: Any
    ) -> Iterator[tuple[_Key, _Found]]:
        """Do ``work(scenario, what)`` for every scenario, several at once; yield each as it is done."""
        if self.jobs == 1 or len(missing) < _POOL_FROM:
            for key, scenario in missing.items():
                yield key, work(scenario, what)
            return
        from concurrent.futures import as_completed

        pool = pool_of(self.jobs)
        futures = {pool.submit(work, scenario, what): key for key, scenario in missing.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


def main(run: Callable[[Study], Verdict]) -> None:
    """Run one experiment from its own file: ``python -m experiments.cN_name [--quick] [--out DIR]``."""
    import inspect
    import sys

    from simulator.cli import main as cli

    name = Path(inspect.getfile(run)).stem
    sys.exit(cli.main(["reproduce", name, *sys.argv[1:]]))


def _measure(scenario: Scenario, readings: Sequence[Reading]) -> list[RunSummary]:
    from simulator.scenario.run import run

    result = run(scenario)
    return [result.summary(*reading) for reading in readings]


def _columns(scenario: Scenario, names: Sequence[str]) -> Columns:
    from simulator.scenario.run import run

    result = run(scenario)
    derived = {
        "idle_s": idle_latency_s,
        "benefit_tokens": benefit_tokens,
        "meets_token_slo": meets_token_slo,
    }
    found: Columns = {}
    for name in names:
        table, dot, column = name.partition(".")
        if dot:
            found[name] = getattr(result, table)()[column].to_numpy()
            if found[name].dtype == object:  # words
                found[name] = found[name].astype(str)
        elif name in derived:
            found[name] = np.asarray(derived[name](result.log, scenario.user))
        else:
            found[name] = np.asarray(getattr(result.log, name))
    return found
