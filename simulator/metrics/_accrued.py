"""How far each request had come when the measured window began and when it ended: what fell into it is in between.

Benefit is taken as it accrues: a token when it is delivered, a penalty while its reader waits. So what windows side by
side hold adds up to the whole, in a run that is stable and in one that is not.
"""

from typing import NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._distribution import rate
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Reader, UserModel
from simulator.metrics._reader import (
    alpha_tokens,
    asking_again_s,
    largest_lateness_s,
    lateness_s,
    owed_s,
    penalty,
)
from simulator.metrics._reduce import per_request
from simulator.metrics._segments import row_max, row_sum


class Standing(NamedTuple):
    """How far the requests had come at a time, one row each."""

    tokens: Ints  # delivered by then
    began: Flags  # whether the first token had been delivered
    completed: Flags
    idle_s: Floats  # user idle latency so far
    benefit_tokens: Floats


@per_request
def tokens_before_window(log: RequestLog) -> Floats:
    """Return how many of each request's tokens were delivered before the window, f64[n]."""
    return _tokens_by(log, np.nextafter(log.start_s, -np.inf))


@per_request
def tokens_by_window_end(log: RequestLog) -> Floats:
    """Return how many of each request's tokens were delivered by the end of the window, f64[n]."""
    return _tokens_by(log, log.end_of_run_s)


@per_request
def lateness_before_window_s(log: RequestLog, user: Reader) -> Floats:
    """Return the largest lateness of each request's tokens before the window, f64[n]; NaN without one."""
    return _largest_lateness_by(log, user, np.nextafter(log.start_s, -np.inf))


@per_request
def lateness_by_window_end_s(log: RequestLog, user: Reader) -> Floats:
    """Return the largest lateness of each request's tokens by the end of the window, f64[n]; NaN without one."""
    return _largest_lateness_by(log, user, log.end_of_run_s)


def before_window(log: RequestLog, user: UserModel) -> Standing:
    """Return how far the requests had come when the window began."""
    tokens, lateness = tokens_before_window(log), lateness_before_window_s(log, user)
    return _standing(log, user, float(np.nextafter(log.start_s, -np.inf)), tokens, lateness)


def by_window_end(log: RequestLog, user: UserModel) -> Standing:
    """Return how far the requests had come when the window ended."""
    return _standing(
        log, user, log.end_of_run_s, tokens_by_window_end(log), lateness_by_window_end_s(log, user)
    )


def goodput_per_s(log: RequestLog, user: UserModel, good: Flags) -> tuple[float | None, float | None]:
    """Return how many ``good`` requests (bool[n]) a second end in the window, and how many of their tokens fall in."""
    begin, end = before_window(log, user), by_window_end(log, user)
    requests = int((good & end.completed & ~begin.completed).sum())
    tokens = int((end.tokens - begin.tokens)[good].sum())
    return rate(requests, log.window_s), rate(tokens, log.window_s)


def _standing(log: RequestLog, user: UserModel, at_s: float, count: Floats, lateness: Floats) -> Standing:
    """A request is as if the run had been cut off then: one that had not ended waits for its next token."""
    tokens = count.astype(np.int64)
    began, ended = tokens > 0, log.end_s <= at_s
    completed = log.completed & ended
    if user.origin == "first_token":
        clock_s = np.where(began, log.first_token_s, log.arrival_s)
    else:
        clock_s = log.arrival_s + user.first_token_allowance_s
    waits_on = user.unserved == "wait_to_end"
    until_s = np.full(log.n, at_s) if waits_on else np.minimum(log.end_s, at_s)
    idle_s = np.fmax(np.fmax(lateness, owed_s(log, user, tokens, clock_s, until_s, completed)), 0.0)
    idle_s = np.where(log.arrival_s <= at_s, idle_s + np.where(ended, asking_again_s(log, user), 0.0), 0.0)
    worth = user.weight_input * np.where(began, log.prompt_tokens, 0) + user.weight_output * tokens
    return Standing(tokens, began, completed, idle_s, worth - penalty(idle_s, user, alpha_tokens(log, user)))


def _tokens_by(log: RequestLog, at_s: float) -> Floats:
    if _all_by(log, at_s):
        return log.token_counts.astype(np.float64)
    if at_s < log.arrival_s[0]:
        return np.zeros(log.n)
    return row_sum(log.delivered_s <= at_s, log.token_offsets)


def _largest_lateness_by(log: RequestLog, user: Reader, at_s: float) -> Floats:
    if _all_by(log, at_s):
        return largest_lateness_s(log, user)
    if at_s < log.arrival_s[0]:
        return np.full(log.n, np.nan)
    late_s = np.where(log.delivered_s <= at_s, lateness_s(log, user), -np.inf)
    largest_s = row_max(late_s, log.token_offsets)
    return np.where(np.isneginf(largest_s), np.nan, largest_s)


def _all_by(log: RequestLog, at_s: float) -> bool:
    return not (log.last_token_s > at_s).any()
