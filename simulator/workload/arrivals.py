"""When requests arrive: renewal processes with a mean rate, as arrays of times in seconds.

Times are the running sum of gaps drawn one after another, so that a longer run begins with the very
arrivals of a shorter one, and another rate only stretches them. A load that changes over time stretches them
here and there (``load.py``).
"""

from collections.abc import Callable

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError

UnitGaps = Callable[[int], Floats]  # n gaps with mean 1

# Nearly two days of a large service (benchmarks/day.py), and 1.2 GB of columns: more is a slip of the keyboard.
MOST_REQUESTS = 50_000_000


def unit_gaps(kind: str, rng: "np.random.Generator", burstiness: float | None) -> UnitGaps:
    """Return a source of gaps with mean 1 for ``poisson``, ``gamma`` or ``constant`` arrivals.

    ``burstiness`` is the shape k of Gamma gaps, as in ``vllm bench serve --burstiness``: the gaps'
    coefficient of variation is 1/sqrt(k), so 1 is Poisson and less than 1 is burstier.
    """
    if kind == "constant":
        return np.ones
    if kind == "gamma":
        assert burstiness is not None
        shape = burstiness
        return lambda n: rng.standard_gamma(shape, n) / shape
    return rng.standard_exponential


def first_units(gaps: UnitGaps, n: int) -> Floats:
    """Return the times of the first ``n`` arrivals at one a second; the first comes one gap after 0."""
    return np.cumsum(gaps(n))


def units_beyond(gaps: UnitGaps, expected: float, duration_s: float) -> Floats:
    """Return arrival times at one a second, up to ``expected`` and some more.

    Raises ``InputError`` if they are too many, in terms of the ``duration_s`` in which so many are expected.
    """
    if not expected <= MOST_REQUESTS:
        raise InputError(
            f"workload.duration_s: {expected / duration_s:g} requests/s for {duration_s:g} s are about"
            f" {expected:.3g} requests; expected at most {MOST_REQUESTS:,}"
        )
    chunks: list[Floats] = []
    reached = 0.0
    while reached <= expected:
        times = reached + np.cumsum(gaps(int(expected) + 64))
        chunks.append(times)
        reached = float(times[-1])
    return np.concatenate(chunks)


def first_n(gaps: UnitGaps, rate_rps: float, n: int) -> Floats:
    """Return the times of the first ``n`` arrivals at a constant mean rate."""
    return first_units(gaps, n) / rate_rps


def within(gaps: UnitGaps, rate_rps: float, duration_s: float) -> Floats:
    """Return the arrival times up to ``duration_s``; may be empty. Raises ``InputError`` if too many."""
    times = units_beyond(gaps, rate_rps * duration_s, duration_s) / rate_rps
    return times[times <= duration_s]
