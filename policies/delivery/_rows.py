"""Arithmetic on the tokens of many requests stored end to end: those of request k begin at ``starts[k]``."""

import numpy as np

from simulator.policy import Floats, Ints


def rows(starts: Ints, n: int) -> Ints:
    """Return the request that each of ``n`` tokens belongs to, counting from 0."""
    return np.repeat(np.arange(len(starts), dtype=np.int64), np.diff(starts, append=n))


def running_max(values: Floats, row: Ints) -> Floats:
    """Return, for every value, the largest of its row so far (itself included), to the last bit.

    By rank among all values, raised so that those of a later row are all higher: then one pass is enough.
    """
    n = len(values)
    order = np.argsort(values, kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    rank += row * n
    np.maximum.accumulate(rank, out=rank)
    largest: Floats = values[order[rank - row * n]]
    return largest
