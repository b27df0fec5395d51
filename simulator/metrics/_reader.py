"""The reader: when each token is due, how late it comes, and how long the user has nothing to read.

The reader takes what it reads, a token every V seconds or as its ``ReadingCurve`` says, and stops when the next is not
there. Reading can only slip, never catch up, so the sum of all stalls equals the largest lateness, ``l = max(0,
max_i(t_i − d_i))`` (arXiv 2410.14257v2, Eq. 9). Everything here is a pure function of a log and a user model.
"""

from typing import NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._by_rows import by_rows
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Reader, UserModel
from simulator.metrics._places import curve_of, first_read_s, is_steady, next_place, places, thinking_tokens
from simulator.metrics._reduce import per_request, pooled
from simulator.metrics._segments import row_max, row_sum, running_max
from simulator.replica.idle_cost import LARGEST_EXPONENT, ON_TIME_WITHIN_S
from simulator.replica.request import RequestState

_LATENESS, _SLIPS = "_lateness_s", "_slips"


def clock_start_s(log: RequestLog, user: Reader) -> Floats:
    """Return the absolute time from which each request's deadlines count, allowance included, f64[n].

    With origin ``first_token``, which is the first that is read, a request that never got it counts from its arrival:
    it has been waiting.
    """
    if user.origin == "first_token":
        return np.where(log.token_counts > thinking_tokens(log, user), first_read_s(log, user), log.arrival_s)
    return log.arrival_s + allowance_s(log, user)


def allowance_s(log: RequestLog, user: Reader) -> Floats | float:
    """Return the S of each request's reader, f64[n], or the one number that it is for all."""
    own_s, of_all_s = log.first_token_allowance_s, user.reading.first_token_allowance_s
    return of_all_s if own_s is None else np.where(np.isnan(own_s), of_all_s, own_s)


def v_s_per_token(log: RequestLog, user: Reader) -> Floats:
    """Return how many seconds the reader of each request takes for a token, f64[n]."""
    own_s = log.v_s_per_token
    if own_s is None:
        return np.full(log.n, user.v_s_per_token)
    return np.where(np.isnan(own_s), user.v_s_per_token, own_s)


def lateness_s(log: RequestLog, user: Reader) -> Floats:
    """Return ``t_i − d_i`` for every delivered token, f64[tokens]; negative means ahead of the reader.

    Read-only, and kept with the log for the last user asked about, since most metrics begin here.
    """
    kept = vars(log).get(_LATENESS)
    if kept is not None and kept[0] == user.reading:
        late_s: Floats = kept[1]
        return late_s
    counts, index = log.token_counts, places(log, user)
    index *= user.v_s_per_token if log.v_s_per_token is None else np.repeat(v_s_per_token(log, user), counts)
    lateness = log.delivered_s - np.repeat(clock_start_s(log, user), counts)
    lateness -= index
    lateness.flags.writeable = False
    vars(log)[_LATENESS] = (user.reading, lateness)
    return lateness


@per_request
def largest_lateness_s(log: RequestLog, user: Reader) -> Floats:
    """Return the largest lateness of each request's tokens, f64[n]; NaN without one."""
    return row_max(lateness_s(log, user), log.token_offsets)


@per_request
def on_time_tokens(log: RequestLog, user: Reader) -> Floats:
    """Return how many of each request's tokens came by their deadline, f64[n]."""
    return row_sum(lateness_s(log, user) <= ON_TIME_WITHIN_S, log.token_offsets)


@pooled
def deadline_slack_s(log: RequestLog, user: Reader) -> Floats:
    """Return ``d_i − t_i`` of all delivered tokens; negative is late."""
    return -lateness_s(log, user)


def final_lateness_s(log: RequestLog, user: Reader) -> Floats:
    """Return how late the next token was when the reader's wait for it ended, f64[n]; -inf when none was owed.

    A request is owed another token unless it completed; one that got no token is always owed its first. The wait
    ends when the request left, or with ``unserved = "wait_to_end"`` with the measured window, if that is later.
    """
    until_s = log.end_s
    if user.reading.unserved == "wait_to_end":
        until_s = np.maximum(until_s, log.end_of_run_s)
    return owed_s(log, user, log.token_counts, clock_start_s(log, user), until_s, log.completed)


def unserved_tokens(log: RequestLog) -> Ints:
    """Return the tokens that the readers whose requests ended without completing never got, i64[n]."""
    ended = ~log.completed & (log.state != RequestState.UNFINISHED)
    return np.where(ended, np.maximum(log.output_tokens - log.token_counts, 0), 0)


def asking_again_s(log: RequestLog, user: Reader) -> Floats:
    """Return the time that it costs each reader to ask again for what it did not get, f64[n]: that of reading it."""
    if user.reading.unserved != "asks_again":
        return np.zeros(log.n)
    unserved: Ints | Floats = unserved_tokens(log)
    if not is_steady(log, user):
        curve, thinking = curve_of(user), thinking_tokens(log, user)
        had, whole = (np.maximum(each - thinking, 0.0) for each in (log.token_counts, log.output_tokens))
        unserved = np.where(unserved > 0, curve.paced(whole) - curve.paced(had), 0.0)
    again_s: Floats = v_s_per_token(log, user) * unserved
    return again_s


@by_rows
def idle_latency_s(log: RequestLog, user: Reader) -> Floats:
    """Return the user idle latency ``l`` of each request, f64[n], >= 0.

    For a request that ended without completing, the wait for the token that never came counts, and what
    ``user.unserved`` says of the tokens that it did not get.
    """
    waited_s = np.fmax(np.fmax(largest_lateness_s(log, user), final_lateness_s(log, user)), 0.0)
    return waited_s + asking_again_s(log, user)


def owed_s(
    log: RequestLog, user: Reader, tokens: Ints | Floats, clock_s: Floats, until_s: Floats, completed: Flags
) -> Floats:
    """Lateness of the token after so many at a time, f64[n]; -inf where none was owed."""
    owed = ~completed | (tokens == 0)
    # Rounded as in lateness_s, so that losing a token can never look better than getting it late.
    late_s = (until_s - clock_s) - v_s_per_token(log, user) * next_place(log, user, tokens)
    return np.where(owed, late_s, -np.inf)


def alpha_tokens(log: RequestLog, user: UserModel) -> Floats | None:
    """Return the weight of the penalty of each request, f64[n]; None: it is the user model's for all."""
    if log.v_s_per_token is None or user.alpha is not None:
        return None
    return 1.0 / v_s_per_token(log, user)


def penalty(idle_s: Floats, user: UserModel, alpha_tokens: Floats | None = None) -> Floats:
    """Return ``alpha·f(l)`` in tokens for idle latencies ``l`` in seconds, same shape; always finite.

    ``alpha_tokens`` are the weights of each where they are not all the same.
    """
    c = user.f_scale_s
    if user.f == "linear":
        f = idle_s
    elif user.f == "quadratic":
        f = idle_s**2
    elif user.f == "exponential":
        f = np.expm1(np.minimum(idle_s / c, LARGEST_EXPONENT))
    elif user.f == "step":
        f = (idle_s > c + ON_TIME_WITHIN_S).astype(np.float64)
    else:
        f = np.maximum(idle_s - c, 0.0)
    return (user.alpha_tokens if alpha_tokens is None else alpha_tokens) * f


@by_rows
def benefit_tokens(log: RequestLog, user: UserModel) -> Floats:
    """Return what each request was worth, ``w_in·n_in + w_out·n − alpha·f(l)`` tokens (Eq. 10), f64[n]; may be < 0."""
    return worth_tokens(log, user, log.token_counts, idle_latency_s(log, user))


def worth_tokens(log: RequestLog, user: UserModel, tokens: Ints | Floats, idle_s: Floats) -> Floats:
    """Return the benefit of each request with so many tokens and so much idle latency, f64[n].

    The input term counts from the first token on: a prompt that was turned away or never got through served
    no reader, and crediting it would reward dropping.
    """
    served_prompt_tokens = np.where(tokens > 0, log.prompt_tokens, 0)
    worth = user.weight_input * served_prompt_tokens + user.weight_output * tokens
    if user.weight_thinking is not None:
        less = user.weight_output - user.weight_thinking
        worth -= less * np.minimum(tokens, thinking_tokens(log, user))
    benefit: Floats = worth - penalty(idle_s, user, alpha_tokens(log, user))
    return benefit


def meets_token_slo(log: RequestLog, user: UserModel) -> Flags:
    """Return which requests got every token by its deadline (Eq. 1), bool[n]; one that did not complete never did."""
    return log.completed & (idle_latency_s(log, user) <= ON_TIME_WITHIN_S)


class Slips(NamedTuple):
    """The delivered tokens that made some reader wait, one row each, in request order."""

    token: Ints  # index in log.delivered_s
    request: Ints  # index in the log
    before_s: Floats  # this reader's idle latency before the token
    after_s: Floats  # and with it, always more: the token's lateness


def slips(log: RequestLog, user: Reader) -> Slips:
    """Return the tokens that came later, against their deadlines, than every one before them.

    Kept with the log for the last user asked about.
    """
    kept = vars(log).get(_SLIPS)
    if kept is not None and kept[0] == user.reading:
        known: Slips = kept[1]
        return known
    late_s = lateness_s(log, user)
    # A reader waits only for a token that is later than the one before it: few are left to look at.
    later = np.ones(len(late_s), dtype=np.bool_)
    np.greater(late_s[1:], late_s[:-1], out=later[1:])
    later[log.token_offsets[:-1][log.token_counts > 0]] = True
    token = np.flatnonzero(later & (late_s > 0))
    offsets = np.searchsorted(token, log.token_offsets)
    after_s = running_max(late_s[token], offsets)
    before_s = np.zeros_like(after_s)
    before_s[1:] = after_s[:-1]
    before_s[offsets[:-1][offsets[1:] > offsets[:-1]]] = 0.0
    made_wait = after_s > before_s
    request = np.repeat(np.arange(log.n), np.diff(offsets))
    found = Slips(token[made_wait], request[made_wait], before_s[made_wait], after_s[made_wait])
    vars(log)[_SLIPS] = (user.reading, found)
    return found


class Stalls(NamedTuple):
    """Every stretch of time in which some user had nothing to read, one row each, in request order."""

    request: Ints  # index in the log
    start_s: Floats  # absolute
    end_s: Floats  # absolute: the awaited token came, or the user left
    idle_before_s: Floats  # this user's idle latency when the stall began
    idle_after_s: Floats  # and when it ended


def stalls(log: RequestLog, user: Reader) -> Stalls:
    """Return all stalls of all users; those of one request add up to its idle latency.

    What it costs to ask again is a stall of no length, when the request left.
    """
    slipped = slips(log, user)
    reached = np.zeros(log.n)
    np.maximum.at(reached, slipped.request, slipped.after_s)
    final, again_s = final_lateness_s(log, user), asking_again_s(log, user)
    left, asks = np.flatnonzero(final > reached), np.flatnonzero(again_s > 0)
    owed_until_s = final + v_s_per_token(log, user) * next_place(log, user, log.token_counts)
    owed_until_s += clock_start_s(log, user)
    waited = np.maximum(reached, final)

    who = np.concatenate([slipped.request, left, asks])
    end = np.concatenate([log.delivered_s[slipped.token], owed_until_s[left], log.end_s[asks]])
    idle_before = np.concatenate([slipped.before_s, reached[left], waited[asks]])
    idle_after = np.concatenate([slipped.after_s, final[left], waited[asks] + again_s[asks]])
    length_s = idle_after - idle_before
    length_s[len(who) - len(asks) :] = 0.0
    order = np.argsort(who, kind="stable")
    return Stalls(*(column[order] for column in (who, end - length_s, end, idle_before, idle_after)))
