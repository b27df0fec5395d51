"""How far each request had come when the measured window began and when it ended: what fell into it is in between.

Benefit is taken as it accrues: a token when it is delivered, a penalty while its reader waits. So what windows side by
side hold adds up to the whole, in a run that is stable and in one that is not.
"""

from typing import NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._by_rows import by_rows
from simulator.metrics._distribution import rate
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Reader, UserModel
from simulator.metrics._places import first_read_s, thinking_tokens
from simulator.metrics._reader import (
    allowance_s,
    asking_again_s,
    largest_lateness_s,
    lateness_s,
    owed_s,
    worth_tokens,
)
from simulator.metrics._reduce import per_request
from simulator.metrics._segments import row_max, row_sum


class FellIn(NamedTuple):
    """What of each request fell into the window, one row each."""

    tokens: Ints  # delivered
    began: Flags  # whether the first token was
    completed: Flags


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


def fell_in(log: RequestLog) -> FellIn:
    """Return what of each request fell into the window."""
    before, by_end = tokens_before_window(log), tokens_by_window_end(log)
    completed = log.completed & (log.end_s >= log.start_s) & (log.end_s <= log.end_of_run_s)
    return FellIn((by_end - before).astype(np.int64), (before == 0) & (by_end > 0), completed)


def idle_by_window_end_s(log: RequestLog, user: UserModel) -> Floats:
    """Return the user idle latency of each request as it stood at the end of the window, f64[n]."""
    lateness = lateness_by_window_end_s(log, user)
    return _idle_by_s(log, user, log.end_of_run_s, tokens_by_window_end(log), lateness)


@by_rows
def accrued_benefit_tokens(log: RequestLog, user: UserModel) -> Floats:
    """Return what each request was worth at the end of the window, less what it was at its start, f64[n]."""
    start_s, tokens = float(np.nextafter(log.start_s, -np.inf)), tokens_before_window(log)
    idle_s = _idle_by_s(log, user, start_s, tokens, lateness_before_window_s(log, user))
    by_end = worth_tokens(log, user, tokens_by_window_end(log), idle_by_window_end_s(log, user))
    return by_end - worth_tokens(log, user, tokens, idle_s)


def goodput_per_s(log: RequestLog, good: Flags) -> tuple[float | None, float | None]:
    """Return how many ``good`` requests (bool[n]) a second end in the window, and how many of their tokens fall in."""
    here = fell_in(log)
    requests, tokens = int((good & here.completed).sum()), int(here.tokens[good].sum())
    return rate(requests, log.window_s), rate(tokens, log.window_s)


def _idle_by_s(log: RequestLog, user: UserModel, at_s: float, tokens: Floats, lateness: Floats) -> Floats:
    """A request is as if the run had been cut off then: one that had not ended waits for its next token."""
    ended = log.end_s <= at_s
    if user.origin == "first_token":
        clock_s = np.where(tokens > thinking_tokens(log, user), first_read_s(log, user), log.arrival_s)
    else:
        clock_s = log.arrival_s + allowance_s(log, user)
    waits_on = user.unserved == "wait_to_end"
    until_s = np.full(log.n, at_s) if waits_on else np.minimum(log.end_s, at_s)
    owed = owed_s(log, user, tokens, clock_s, until_s, log.completed & ended)
    idle_s = np.fmax(np.fmax(lateness, owed), 0.0)
    return np.where(log.arrival_s <= at_s, idle_s + np.where(ended, asking_again_s(log, user), 0.0), 0.0)


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
    largest_s = largest_lateness_s(log, user).copy()
    goes_on = np.flatnonzero(log.last_token_s > at_s)  # the few of which not all tokens count
    offsets = np.concatenate([[0], np.cumsum(log.token_counts[goes_on])])
    token = np.arange(offsets[-1]) + np.repeat(log.token_offsets[goes_on] - offsets[:-1], np.diff(offsets))
    late_s = np.where(log.delivered_s[token] <= at_s, lateness_s(log, user)[token], -np.inf)
    some_s = row_max(late_s, offsets)
    largest_s[goes_on] = np.where(np.isneginf(some_s), np.nan, some_s)
    return largest_s


def _all_by(log: RequestLog, at_s: float) -> bool:
    return not (log.last_token_s > at_s).any()
