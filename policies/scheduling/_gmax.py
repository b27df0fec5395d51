"""GMAX: of the requests that promise most, the window of similar lengths whose gain is the largest."""

from collections.abc import Sequence


def best_window(gains: Sequence[float], size: int) -> int:
    """Return where the ``size`` neighbours of most total gain begin; the first of equals, 0 if there are no more."""
    best, begins = sum(gains[:size]), 0
    total = best
    for begin in range(1, len(gains) - size + 1):
        total += gains[begin + size - 1] - gains[begin - 1]
        if total > best:
            best, begins = total, begin
    return begins
