"""How the requests ended; every request ends in exactly one state."""

from typing import Any

import numpy as np

from simulator.metrics._distribution import share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure
from simulator.metrics._options import Slo, UserModel
from simulator.replica.request import RequestState

MEASURES = (
    Measure(
        "states.completed.share_of_arrived", "completed", "share of arrived", True, "completed",
        ("compare", "ranking"),
    ),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return ``arrived`` and, for each state, count and share of arrived; the counts add up to arrived."""
    counts = np.bincount(log.state, minlength=len(RequestState))
    measures: dict[str, Any] = {"arrived": log.n}
    for state in RequestState:
        count = int(counts[state])
        measures[state.name.lower()] = {"count": count, "share_of_arrived": share(count, log.n)}
    return measures
