"""Where in its reading a reader comes to each token of an answer: the g(i) of d_i = clock + S + V·g(i)."""

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Reader
from simulator.metrics._reduce import per_request
from simulator.replica.reading import BY_TOKEN, ReadingCurve


def thinking_tokens(log: RequestLog, user: Reader) -> Ints:
    """Return how many tokens at the beginning of each answer are thinking, which is not read, i64[n]."""
    share = user.reading.thinking_share
    usual = (share * log.output_tokens).astype(np.int64) if share else np.zeros(log.n, np.int64)
    own = log.thinking_tokens
    return usual if own is None else np.where(own < 0, usual, own)


def is_steady(log: RequestLog, user: Reader) -> bool:
    """Whether all readers take token after token at a speed of their own: g(i) = i."""
    reading = user.reading
    return reading.curve is None and not reading.thinking_share and log.thinking_tokens is None


def curve_of(user: Reader) -> ReadingCurve:
    """Return how readers go through an answer, also where they do so steadily."""
    return user.reading.curve or BY_TOKEN


@per_request
def first_read_s(log: RequestLog, user: Reader) -> Floats:
    """Return the absolute time of the first token that each reader reads, f64[n]; NaN without one."""
    if is_steady(log, user):
        return log.first_token_s
    thinking = thinking_tokens(log, user)
    begun = log.token_counts > thinking
    first_s = np.full(log.n, np.nan)
    first_s[begun] = log.delivered_s[(log.token_offsets[:-1] + thinking)[begun]]
    return first_s


def next_place(log: RequestLog, user: Reader, tokens: Ints | Floats) -> Floats:
    """Return the reading position g of the token that follows so many of each request, f64[n]."""
    following: Floats = np.add(tokens, 1.0, dtype=np.float64)
    if is_steady(log, user):
        return following
    return np.asarray(curve_of(user).position(following, thinking_tokens(log, user)))


def is_thinking(log: RequestLog, user: Reader) -> Flags:
    """Return which delivered tokens are thinking, bool[tokens]."""
    counts = log.token_counts
    index = np.arange(len(log.delivered_s)) - np.repeat(log.token_offsets[:-1], counts)
    return index < np.repeat(thinking_tokens(log, user), counts)


def places(log: RequestLog, user: Reader) -> Floats:
    """Return the reading position g(i) of every delivered token, f64[tokens]."""
    counts = log.token_counts
    index = np.arange(1, len(log.delivered_s) + 1, dtype=np.float64)
    index -= np.repeat(log.token_offsets[:-1].astype(np.float64), counts)
    if is_steady(log, user):
        return index
    curve = curve_of(user)
    return np.asarray(curve.position(index, np.repeat(thinking_tokens(log, user), counts)))
