"""Classic service level objectives: attainment and goodput."""

from typing import Any

import numpy as np

from simulator.arrays import Flags, Floats
from simulator.metrics._accrued import goodput_per_s
from simulator.metrics._distribution import share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure
from simulator.metrics._options import Slo, UserModel
from simulator.replica.idle_cost import ON_TIME_WITHIN_S

MEASURES = (
    *(
        Measure(f"slo.attainment.{bound}", label, "share of arrived", True, shown=())
        for bound, label in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("tail_tbt_s", "tail TBT"), ("e2e_s", "E2E"))
    ),
    Measure("slo.attainment_all", "SLO attainment", "share of arrived", True, "slo", ("report", "compare")),
    Measure(
        "slo.goodput_requests_per_s", "goodput (SLO)", "requests/s", True, "goodput", ("report", "compare"),
        least=0,
    ),
    Measure("slo.goodput_tokens_per_s", "goodput (SLO)", "tokens/s", True, shown=("report", "compare"), least=0),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return attainment as a share of ARRIVED requests, per bound and for all bounds, and classic goodput.

    In the paper's terms (arXiv 2410.14257v2) bounds are deadlines: of TTFT and TBT Eq. 2, of TPOT Eq. 3, of E2E Eq. 4.
    A request meets a bound when it completed and its latency is not above the bound, by more than the rounding of
    float seconds; a latency that it does not have (the gaps of a single token) keeps every bound. Attainment is Eq. 6,
    and so is capacity, what ``servesim capacity --target 'slo>=0.99'`` finds. Goodput, Eq. 7, is the rate of the
    requests that meet all bounds and end in the window, and of their tokens that fall into it, of all requests of the
    run. A request's own ``ttft_slo_s`` and ``tpot_slo_s`` go before those of ``slo``. Without any bound, all is None.
    """
    met, run = _met_bounds(log, slo), log.all
    measures: dict[str, Any] = {
        "bounds": {
            "ttft_s": slo.ttft_s,
            "tpot_s": slo.tpot_s,
            "tail_tbt_s": slo.tail_tbt_s,
            "e2e_s": slo.e2e_s,
            "tail_tbt": slo.tail_tbt,
        },
        "attainment_over": "arrived requests",
        "attainment": {name: share(int(ok.sum()), log.n) for name, ok in met.items()},
        "attainment_all": None,
        "requests_meeting_all": None,
        "goodput_requests_per_s": None,
        "goodput_tokens_per_s": None,
    }
    if log.ttft_slo_s is not None or log.tpot_slo_s is not None:
        measures["bounds_are"] = "those of each request, where it has its own"
    if met:
        good = np.logical_and.reduce(list(met.values()))
        count = int(good.sum())
        measures["attainment_all"] = share(count, log.n)
        measures["requests_meeting_all"] = count
        if run is not log:
            good = np.logical_and.reduce(list(_met_bounds(run, slo).values()))
        measures["goodput_requests_per_s"], measures["goodput_tokens_per_s"] = goodput_per_s(run, good)
    return measures


def _met_bounds(log: RequestLog, slo: Slo) -> dict[str, Flags]:
    """Which requests keep each bound that is set, bool[n] each."""
    met: dict[str, Flags] = {}
    # NaN, a latency that the request does not have, compares as not above the bound.
    ttft_s, tpot_s = _bound_s(log.ttft_slo_s, slo.ttft_s), _bound_s(log.tpot_slo_s, slo.tpot_s)
    if ttft_s is not None:
        met["ttft_s"] = log.completed & ~(log.ttft_s > ttft_s + ON_TIME_WITHIN_S)
    if tpot_s is not None:
        met["tpot_s"] = log.completed & ~(log.tpot_s > tpot_s + ON_TIME_WITHIN_S)
    if slo.tail_tbt_s is not None:
        tail_s = log.tbt_p99_s if slo.tail_tbt == "p99" else log.tbt_max_s
        met["tail_tbt_s"] = log.completed & ~(tail_s > slo.tail_tbt_s + ON_TIME_WITHIN_S)
    if slo.e2e_s is not None:
        met["e2e_s"] = log.completed & ~(log.e2e_s > slo.e2e_s + ON_TIME_WITHIN_S)
    return met


def _bound_s(own_s: Floats | None, usual_s: float | None) -> Floats | float | None:
    """Return the bound of each request, its own before that of all; None where no request has any."""
    if own_s is None or (usual_s is None and np.isnan(own_s).all()):
        return usual_s
    return np.where(np.isnan(own_s), np.inf if usual_s is None else usual_s, own_s)
