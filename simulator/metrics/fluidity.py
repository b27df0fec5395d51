"""Fluidity index: the share of token deadlines met when they start anew after a miss (Etalon, arXiv 2407.07000)."""

from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.metrics._distribution import distribution, share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, spread
from simulator.metrics._options import Reader, Slo, UserModel
from simulator.metrics._places import is_steady
from simulator.metrics._reader import (
    final_lateness_s,
    slips,
    unserved_tokens,
    v_s_per_token,
)
from simulator.metrics._reduce import per_request
from simulator.replica.idle_cost import ON_TIME_WITHIN_S

FLUID_ABOVE = 0.9  # the index above which Etalon counts a request as fluid

MEASURES = (
    *spread("fluidity.fluidity_index", "fluidity index", "0 to 1", True),
    Measure(
        "fluidity.share_of_arrived_above_0_9", "fluidity > 0.9", "share of arrived", True,
        shown=("report", "compare"),
    ),
)  # fmt: skip


@per_request
def fluidity_index(log: RequestLog, user: Reader) -> Floats:
    """Return deadlines met / deadlines of each request, f64[n]; NaN where none was due, with V = 0, and for readers
    who do not take token after token at a steady speed, which Etalon's index is defined for.

    The first token is due as the user model says, each other one V after the deadline before it, or V after
    a token that came too late; tokens ahead of time build up slack. A token late by L counts as
    ``1 + floor(L/V)`` missed deadlines; an L that lacks ``ON_TIME_WITHIN_S`` of a multiple of V is that multiple. A
    request that ended without completing is charged the same for the token that it left without, and one for each
    other token that it did not get where its reader asks again (``user.unserved``). A request that got none of the
    tokens that it asked for has 0.
    """
    if not is_steady(log, user):
        return np.full(log.n, np.nan)
    v = v_s_per_token(log, user)
    late = slips(log, user)
    late_s = late.after_s - late.before_s
    late_s = np.where(late_s > ON_TIME_WITHIN_S, late_s, np.nan)
    owed_s = final_lateness_s(log, user)
    before_s = np.zeros(log.n)
    np.maximum.at(before_s, late.request, late.after_s)
    owed_s = np.where(owed_s > before_s + ON_TIME_WITHIN_S, owed_s - before_s, np.nan)

    missed = np.bincount(late.request, _periods(late_s, v[late.request]), minlength=log.n) + _periods(
        owed_s, v
    )
    if user.reading.unserved == "asks_again":
        missed += np.maximum(unserved_tokens(log) - ~np.isnan(owed_s), 0)
    on_time = log.token_counts - np.bincount(late.request, (~np.isnan(late_s)).astype(float), minlength=log.n)
    nothing = (log.token_counts == 0) & ~log.completed & (log.output_tokens > 0)
    with np.errstate(invalid="ignore"):
        index: Floats = np.where(nothing, 0.0, on_time / (on_time + missed))
    index[v == 0] = np.nan
    return index


def _periods(late_s: Floats, v_s: Floats) -> Floats:
    """Deadlines missed by a token that is late; 0 for NaN, which is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # A lateness of whole periods may be a rounding error below or above them.
        periods = 1.0 + np.floor((late_s + ON_TIME_WITHIN_S) / v_s)
    return np.nan_to_num(periods, posinf=0.0)


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the distribution of the fluidity index, and the share of ARRIVED requests above 0.9.

    With V = 0 there is no period between deadlines, nor for readers who are not steady, and all of it is None.
    """
    index = fluidity_index(log, user)
    defined = bool((v_s_per_token(log, user) > 0).any()) and is_steady(log, user)
    return {
        "v_s_per_token": user.v_s_per_token,
        "fluidity_index": distribution(index, "requests with a token due"),
        "share_of_arrived_above_0_9": share(int((index > FLUID_ABOVE).sum()), log.n) if defined else None,
    }
