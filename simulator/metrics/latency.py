"""The classic latencies, named and defined as in the serving benchmarks."""

from typing import Any

from simulator.metrics._distribution import distribution
from simulator.metrics._log import RequestLog, tbt_s
from simulator.metrics._measure import spread
from simulator.metrics._options import Slo, UserModel

_TWO_TOKENS = "requests with at least two tokens"

MEASURES = (
    *spread(
        "latency.ttft_s", "TTFT", "s", least=0, alias="ttft", row="TTFT",
        mean=("compare", "ranking"), p99=("compare", "ranking", "sweep"),
    ),
    *spread(
        "latency.tbt_s", "TBT", "s", least=0, alias="tbt", row="TBT (ITL)",
        mean=("compare",), p99=("compare", "ranking", "sweep"),
    ),
    *spread("latency.tbt_p99_per_request_s", "TBT p99 of each", "s", least=0, row="TBT p99 of each"),
    *spread("latency.tbt_max_per_request_s", "TBT max of each", "s", least=0),
    *spread("latency.tpot_s", "TPOT", "s", least=0, alias="tpot", row="TPOT", mean=("compare",)),
    *spread(
        "latency.e2e_s", "E2E", "s", least=0, alias="e2e", row="E2E",
        mean=("compare", "ranking"), p99=("compare",),
    ),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the distributions, in seconds, of every classic latency; each states what it is over.

    With ``t_i`` the time from arrival to token i: TTFT is ``t_1``; TBT, also called ITL, is ``t_i −
    t_(i−1)``, pooled over all gaps and as each request's own p99 and max; TPOT is ``(t_n − t_1)/(n − 1)``;
    E2E is ``t_n`` of completed requests. Tokens delivered to requests that did not complete count wherever
    they exist.
    """
    return {
        "ttft_s": distribution(log.ttft_s, "requests with a first token"),
        "tbt_s": distribution(tbt_s(log), "gaps between tokens of all requests"),
        "tbt_p99_per_request_s": distribution(log.tbt_p99_s, _TWO_TOKENS),
        "tbt_max_per_request_s": distribution(log.tbt_max_s, _TWO_TOKENS),
        "tpot_s": distribution(log.tpot_s, _TWO_TOKENS),
        "e2e_s": distribution(log.e2e_s, "completed requests"),
    }
