"""The measured window: what the rates are over, and what was trimmed."""

from typing import Any

from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the window T in seconds and how many requests were trimmed from its two ends."""
    return {
        "start_s": float(log.start_s),
        "end_s": float(log.end_of_run_s),
        "duration_s": float(log.window_s),
        "requests": log.n,
        "trimmed_warmup_requests": log.trimmed_warmup,
        "trimmed_cooldown_requests": log.trimmed_cooldown,
    }
