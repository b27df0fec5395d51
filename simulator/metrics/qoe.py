"""Quality of experience: how far reading fell behind, as a share of what should have been read (Andes).

Liu et al., arXiv 2404.16283: 1 minus the area between the expected and the actual curve of tokens read over
time, divided by the area under the expected one.
"""

from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.metrics._distribution import distribution
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import spread
from simulator.metrics._options import Reader, Slo, UserModel
from simulator.metrics._places import is_steady
from simulator.metrics._reader import clock_start_s, slips, unserved_tokens, v_s_per_token
from simulator.metrics._reduce import per_request

MEASURES = spread("qoe.qoe", "QoE", "0 to 1", True, mean=("report", "compare"))


@per_request
def qoe(log: RequestLog, user: Reader) -> Floats:
    """Return the quality of experience of each request, f64[n], 0 to 1; 1 where nothing was to be read.

    Expected: a token every V seconds as the user model says, as many as were delivered or, if the request
    did not complete, as many as were asked for. Actual: what the reader takes, each token when it is due or
    after the stalls so far. Both curves are steps, and run until the last token is read or the request left; where
    a reader asks again, until the answer should have been read, and where it waits to the end, until then
    (``user.unserved``). A request that got none of the tokens that it asked for has 0. Andes knows steady readers only:
    NaN for all where the user model has others.
    """
    if not is_steady(log, user):
        return np.full(log.n, np.nan)
    late = slips(log, user)
    stalled_s = late.after_s - late.before_s
    idle_s = np.bincount(late.request, stalled_s, minlength=log.n)
    # A stall shifts its own token and all after it by its length.
    shifted = log.token_offsets[late.request + 1] - late.token
    shift_s = np.bincount(late.request, stalled_s * shifted, minlength=log.n)

    v, n, unserved = v_s_per_token(log, user), log.token_counts.astype(np.float64), user.reading.unserved
    read_s = np.where(n > 0, v * n + idle_s, 0.0)  # last token taken, after the clock's start
    left_s = log.end_s - clock_start_s(log, user)
    if unserved == "wait_to_end":
        left_s = np.maximum(left_s, log.end_of_run_s - clock_start_s(log, user))
    elif unserved == "asks_again":
        left_s = np.where(unserved_tokens(log) > 0, np.maximum(left_s, v * log.output_tokens), left_s)
    until_s = np.maximum(read_s, np.where(log.completed, 0.0, left_s))
    actual = n * until_s - v * n * (n + 1) / 2 - shift_s
    asked = np.where(log.completed, n, log.output_tokens)
    with np.errstate(invalid="ignore", divide="ignore"):
        due = np.where(v > 0, np.minimum(asked, np.floor(until_s / v)), asked)
        expected = due * until_s - v * due * (due + 1) / 2
        quality = np.where(expected > 0, np.clip(actual / expected, 0.0, 1.0), 1.0)
    return np.where((n == 0) & (asked > 0), 0.0, quality)


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the distribution of the quality of experience over ARRIVED requests."""
    return {
        "v_s_per_token": user.v_s_per_token,
        "origin": user.origin,
        "first_token_allowance_s": user.first_token_allowance_s,
        "qoe": distribution(qoe(log, user), "arrived requests"),
    }
