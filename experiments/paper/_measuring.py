"""What is measured of one simulation, in any process: summaries, columns, and what a study asks for."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.arrays import Columns
from simulator.metrics._log import OF_READERS, RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import benefit_tokens, idle_latency_s, meets_token_slo
from simulator.metrics._window import Window
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    from simulator.results.result import Result

LOG_COLUMNS = tuple(field.name for field in fields(RequestLog) if field.name not in (*OF_READERS, "run"))
RunSummary = dict[str, Any]


class Reading(NamedTuple):
    """By what a run is scored; None: as the scenario says."""

    user: UserModel | None = None
    slo: Slo | None = None
    window: Window | None = None


def summaries(result: "Result", readings: Sequence[Reading]) -> list[RunSummary]:
    """Return the summary by each reading."""
    return [result.summary(*reading) for reading in readings]


def measured_by(scenario: Scenario, work: tuple[Callable[["Result", Any], Any], Any]) -> Any:
    """Simulate, and return what a function makes of the result."""
    from simulator.scenario.run import run

    measure, what = work
    return measure(run(scenario), what)


def columns_of(scenario: Scenario, names: Sequence[str]) -> Columns:
    """Simulate, and return columns as ``Study.per_request`` names them."""
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
