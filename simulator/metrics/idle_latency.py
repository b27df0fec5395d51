"""User idle latency: how long each user had nothing to read (arXiv 2410.14257v2, Eq. 9)."""

from typing import Any

import numpy as np

from simulator.metrics._distribution import distribution, share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, spread
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import idle_latency_s
from simulator.replica.idle_cost import ON_TIME_WITHIN_S

MEASURES = (
    *spread(
        "idle_latency.idle_latency_s", "user idle", "s", least=0, alias="idle", row="user idle",
        mean=("compare", "ranking", "sweep"), p99=("compare",),
    ),
    Measure(
        "idle_latency.share_of_arrived_that_idled", "ever idle", "share of arrived", shown=("report",)
    ),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the distribution of idle latency in seconds over ARRIVED requests, and who had any.

    A request that ended without completing waits on until the moment it left. The origin of the clock, V and
    the first-token allowance are those of the user model and are stated beside the numbers.
    """
    idle_s = idle_latency_s(log, user)
    return {
        "v_s_per_token": user.v_s_per_token,
        "origin": user.origin,
        "first_token_allowance_s": user.first_token_allowance_s,
        "idle_latency_s": distribution(idle_s, "arrived requests"),
        "total_idle_s": float(idle_s.sum()),
        "share_of_arrived_that_idled": share(int(np.count_nonzero(idle_s > ON_TIME_WITHIN_S)), log.n),
    }
