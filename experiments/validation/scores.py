"""Predicted against measured, and the bars that the errors are held to."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.validation.rows import Deployment
from simulator.errors import InputError, StallError

# scored: counts for the bars. fitted: constants were fitted to this run. shown: no bar asks for it.
Role = Literal["scored", "fitted", "shown"]


@dataclass(frozen=True)
class Score:
    """One metric of one measured row beside its prediction."""

    set_name: str
    row: str
    gpu: str
    model: str
    engine: str  # with its version
    load: str  # light, medium or heavy
    metric: str  # with its unit
    measured: float
    predicted: float | None  # None: could not be simulated, and the note says why
    role: Role = "scored"
    note: str = ""
    weights: str = "bf16"
    tensor_parallel: int = 1

    @property
    def error_pct(self) -> float:
        """Signed error in % of the measured value; NaN where there is no prediction."""
        if self.predicted is None:
            return float("nan")
        return 100 * (self.predicted / self.measured - 1)


@dataclass(frozen=True)
class ErrorSummary:
    """Absolute errors in % of a group of scores."""

    n: int
    median_pct: float
    mean_pct: float
    worst_pct: float
    bias_pct: float  # median of the signed errors
    missing: int  # scores without a prediction


def summarise(scores: Iterable[Score]) -> ErrorSummary:
    """Return the statistics of a group; NaN where it has no prediction at all."""
    errors = np.array([score.error_pct for score in scores])
    there = errors[~np.isnan(errors)]
    missing = len(errors) - len(there)
    if not len(there):
        nan = float("nan")
        return ErrorSummary(0, nan, nan, nan, nan, missing)
    size = np.abs(there)
    return ErrorSummary(
        len(there),
        float(np.median(size)),
        float(size.mean()),
        float(size.max()),
        float(np.median(there)),
        missing,
    )


@dataclass(frozen=True)
class Bar:
    """What the absolute errors of some scores must not exceed."""

    set_name: str
    what: str
    statistic: Literal["median", "mean", "worst"]
    limit_pct: float
    covers: Callable[[Score], bool]
    best_elsewhere: str = "-"


@dataclass(frozen=True)
class BarVerdict:
    """A bar, and what was reached."""

    bar: Bar
    reached_pct: float
    n: int
    missing: int

    @property
    def holds(self) -> bool:
        """Whether every row could be simulated and the statistic is within the limit."""
        return self.n > 0 and not self.missing and self.reached_pct <= self.bar.limit_pct


def judge(bar: Bar, scores: Sequence[Score]) -> BarVerdict:
    """Hold the scored rows that a bar covers to it."""
    own = [s for s in scores if s.set_name == bar.set_name and s.role == "scored" and bar.covers(s)]
    summary = summarise(own)
    reached = {"median": summary.median_pct, "mean": summary.mean_pct, "worst": summary.worst_pct}
    return BarVerdict(bar, reached[bar.statistic], summary.n, summary.missing)


def scores_of(
    set_name: str,
    row: str,
    deployment: Deployment,
    load: str,
    measured: dict[str, float],
    predict: Callable[[], dict[str, float]],
    role: Role = "scored",
    note: str = "",
) -> Iterable[Score]:
    """Yield a score for every metric; where the profiles do not describe the row, the note says why."""
    predicted: dict[str, float] = {}
    try:
        predicted = predict()
    except (InputError, StallError) as error:
        note = str(error)
    for metric, value in measured.items():
        yield Score(
            set_name,
            row,
            deployment.gpu,
            deployment.model,
            f"{deployment.engine} {deployment.engine_version}",
            load,
            metric,
            value,
            predicted.get(metric),
            role,
            note,
            deployment.weights,
            deployment.tensor_parallel,
        )
