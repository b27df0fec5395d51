"""The measured window: what the rates are over, and what was trimmed."""

from typing import Any

from simulator.metrics._accrued import fell_in
from simulator.metrics._distribution import share
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the window T in seconds, the requests that arrived in it, and what of the run fell into it.

    ``share_of_tokens`` is of all tokens that were delivered in the run; what came before or after is in no rate.
    """
    run = log.all
    tokens = int(fell_in(run).tokens.sum())
    return {
        "start_s": float(log.start_s),
        "end_s": float(log.end_of_run_s),
        "duration_s": float(log.window_s),
        "requests": log.n,
        "share_of_tokens": share(tokens, int(run.token_offsets[-1])),
        "trimmed_warmup_requests": log.trimmed_warmup,
        "trimmed_cooldown_requests": log.trimmed_cooldown,
    }
