"""Functions of each request by itself, computed for some requests at a time where there are very many."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from simulator.arrays import Floats

if TYPE_CHECKING:
    from simulator.metrics._log import RequestLog

ROWS = 1 << 18  # what is made on the way has some 100 bytes a request
User = TypeVar("User")


def by_rows(compute: "Callable[[RequestLog, User], Floats]") -> "Callable[[RequestLog, User], Floats]":
    """Return a function that computes the same f64[n] in pieces, of a log that does not keep all tokens."""

    @wraps(compute)
    def computed(log: "RequestLog", user: User) -> Floats:
        if log.keeps_tokens or log.n <= ROWS:
            return compute(log, user)
        found = np.empty(log.n)
        for first in range(0, log.n, ROWS):
            stop = min(first + ROWS, log.n)
            found[first:stop] = compute(log.rows(first, stop), user)
        return found

    return computed
