"""Smooth goodput: tokens delivered less what the waiting cost the users, per second (arXiv 2410.14257v2, Eq. 11)."""

from typing import Any

import numpy as np

from simulator.metrics._accrued import accrued_benefit_tokens
from simulator.metrics._distribution import distribution, rate, share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, spread
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import benefit_tokens

MEASURES = (
    Measure(
        "smooth_goodput.smooth_goodput_tokens_per_s", "smooth goodput", "tokens/s", True,
        shown=("report", "compare", "ranking", "sweep"),
    ),
    Measure("smooth_goodput.per_requested_token", "smooth goodput", "per requested token", True, shown=()),
    *spread(
        "smooth_goodput.benefit_tokens_per_request", "benefit", "tokens/arrived request", True,
        mean=("report",),
    ),
    Measure(
        "smooth_goodput.share_of_arrived_with_negative_benefit", "negative benefit", "share of arrived",
        shown=("report",),
    ),
)  # fmt: skip

# A benefit that is less than 0 by no more is 0, as it is a difference of rounded numbers
ROUNDING_TOKENS = 1e-9


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the benefit that accrued in the window T over T, its parts, and the choices it depends on.

    ``benefit(r) = w_in·n_in + w_out·n − alpha·f(l)`` in tokens (Eq. 10), with l as it stood: ``Σ benefit(r)`` at
    the end of the window less that at its start, of all requests of the run. Where the window begins with the first
    arrival and does not depend on when tokens come (``arrivals``, seconds), delivering a token earlier never lowers
    it and delaying one never raises it (with origin ``arrival``). Beyond saturation idle latency grows with the
    length of the run, so read the number beside ``window`` and ``stability``. Benefit per request and per requested
    token are of the requests that arrived in the window, to their ends: 1 where all tokens came and no reader
    waited.
    """
    total = float(accrued_benefit_tokens(log.all, user).sum())
    benefit = benefit_tokens(log, user)
    requested = int(log.output_tokens.sum())
    negative = int(np.count_nonzero(benefit < -ROUNDING_TOKENS))
    return {
        "smooth_goodput_tokens_per_s": rate(total, log.window_s),
        "per_requested_token": float(benefit.sum()) / requested if requested else None,
        "over": "all requests, as they stood at the window's ends",
        "benefit_tokens": total,
        "benefit_tokens_per_request": distribution(benefit, "arrived requests"),
        "share_of_arrived_with_negative_benefit": share(negative, log.n),
        "user_model": user.described,
        "v_s_per_token": user.v_s_per_token,
        "origin": user.origin,
        "first_token_allowance_s": user.first_token_allowance_s,
        "alpha_tokens": user.alpha_tokens,
        "f": user.f,
        "f_scale_s": user.f_scale_s,
        "weight_input": user.weight_input,
        "weight_output": user.weight_output,
        "weight_thinking": user.weight_thinking,
        "reads": user.reads,
        "fatigue": user.fatigue,
        "skim_after_tokens": user.skim_after_tokens,
        "skim_speedup": user.skim_speedup,
        "thinking_share": user.thinking_share,
        "unserved": user.unserved,
        "window_s": float(log.window_s),
    }
