"""The measured window: the time T that all rates are over, and the requests that are measured."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.errors import InputError
from simulator.metrics._log import RequestLog

TimeSpan = Literal["whole", "arrivals"]


@dataclass(frozen=True)
class Window:
    """What part of a run is measured, by time.

    ``arrivals`` is from the first arrival to the last, less the shares ``warmup`` and ``cooldown`` of that time at its
    ends: the same for all policies that serve the same traffic. ``whole`` ends with the last event, so that the last
    answer moves every rate. A number is so many seconds from the first arrival on.

    Raises InputError, naming the field as it is written in a scenario, for a value that is not allowed.
    """

    rule: TimeSpan | float = "arrivals"
    warmup: float = 0.0
    cooldown: float = 0.0

    def __post_init__(self) -> None:
        """Check every field; see the class for what is raised."""
        rule = self.rule
        if isinstance(rule, str):
            known = rule in ("whole", "arrivals")
        else:
            known = type(rule) in (int, float) and math.isfinite(rule) and rule > 0
        if not known:
            raise InputError(f"metrics.window: expected 'whole', 'arrivals' or seconds above 0, got {rule!r}")
        for field, share in (("run.trim_warmup", self.warmup), ("run.trim_cooldown", self.cooldown)):
            if not (math.isfinite(share) and 0 <= share < 1):
                raise InputError(f"{field} must be a share in [0, 1); got {share!r}.")
        if self.warmup + self.cooldown >= 1:
            raise InputError(
                f"run.trim_warmup + run.trim_cooldown must be below 1; got {self.warmup} + {self.cooldown}."
            )
        if rule != "arrivals" and (self.warmup or self.cooldown):
            raise InputError(
                f"metrics.window: {rule!r} with run.trim_warmup or run.trim_cooldown, which are shares of the arrivals'"
                " time; expected 'arrivals' beside them"
            )


def widened(log: RequestLog, window: Window) -> RequestLog:
    """Return the log of all requests of a run over the window; ``log`` is from first arrival to last event."""
    if log.n == 0 or window.rule == "whole":
        return log
    first_s = float(log.arrival_s[0])
    span_s = float(log.arrival_s[-1]) - first_s
    if window.rule != "arrivals":
        return replace(log, end_of_run_s=first_s + window.rule)
    if span_s == 0:  # all arrived at once, which takes no time
        return log
    start_s, end_s = first_s + window.warmup * span_s, first_s + (1 - window.cooldown) * span_s
    return replace(log, start_s=start_s, end_of_run_s=end_s)


def measured(log: RequestLog, window: Window) -> RequestLog:
    """Return the log of the requests that arrived in the window; ``log`` is from first arrival to last event.

    What is said of a request (latencies, idle latency, whether it kept a bound) is of these, all of it, also what
    comes after the window. What is a rate counts what fell into the window of all requests (``RequestLog.all``).
    """
    return arrived_within(widened(log, window))


def arrived_within(whole: RequestLog) -> RequestLog:
    """Return the log of the requests that arrived in the window of a log of all of them."""
    first = int(np.searchsorted(whole.arrival_s, whole.start_s, side="left"))
    stop = int(np.searchsorted(whole.arrival_s, whole.end_of_run_s, side="right"))
    if (first, stop) == (0, whole.n):
        return whole
    return replace(whole.rows(first, stop), run=whole, trimmed_warmup=first, trimmed_cooldown=whole.n - stop)
