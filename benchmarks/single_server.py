"""A system with a known answer: M/D/1, made of one replica with one seat, steps of one length, one-token requests."""

import math
from collections.abc import Sequence

import numpy as np

from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.arrays import Floats
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from simulator.rng import stream
from simulator.studies.capacity.book import Ask, Seen
from simulator.workload import Workload

SERVICE_S = 0.02
SATURATION_RPS = 1 / SERVICE_S
WARM_UP = 0.1  # share of the requests that is cut where nothing is known of warm-up
MOST_GROWTH = 0.005  # of the arrivals may be added to the queue in a run that still counts as stable


class _Even:
    def step_s(self, shape: StepShape) -> float:
        return SERVICE_S


def arrivals(rate_rps: float, n: int, seed: int) -> Floats:
    """Poisson; those of one seed at another rate are the same, stretched."""
    return np.cumsum(stream(seed, "arrivals").standard_exponential(n)) / rate_rps


def waits(rate_rps: float, n: int, seed: int) -> Floats:
    """Seconds that each request waits, by the simulator."""
    ones = np.ones(n, np.int64)
    traffic = Workload("M/D/1", arrivals(rate_rps, n, seed), ones, ones, 1, "Poisson")
    deployment = colocated(VllmV1, _Even(), Limits(1, 1, 64, 100, 16), RoundRobin())
    requests = simulate(traffic, deployment).tables.requests
    return np.asarray(requests["first_scheduled_s"] - requests["arrival_s"], np.float64)


def waits_by_recursion(rate_rps: float, n: int, seed: int) -> Floats:
    """The same by Lindley's recursion, for experiments by the hundred."""
    walk = np.concatenate([[0.0], np.cumsum(SERVICE_S - np.diff(arrivals(rate_rps, n, seed)))])
    return walk - np.minimum.accumulate(walk)


def mean_wait_s(load: float) -> float:
    """Pollaczek and Khinchine: load / (2 (1 - load)) services."""
    return load / (2 * (1 - load)) * SERVICE_S


def wait_quantile_s(load: float, share: float) -> float:
    """The time that a share of the requests does not exceed (Erlang's distribution of the M/D/1 wait), by bisection.

    P(W <= t) = (1 - load) sum over k = 0 .. floor(u) of (-x)^k e^x / k! with u = t / service, x = load (u - k).
    """

    def below(u: float) -> float:
        terms = ((load * (u - k), k) for k in range(math.floor(u) + 1))
        return (1 - load) * sum((-x) ** k * math.exp(x) / math.factorial(k) for x, k in terms)

    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return high * SERVICE_S


def growth(arrival_s: Floats, wait_s: Floats) -> float:
    """The share of the arrivals after warm-up that was added to the queue."""
    left_s, first = np.sort(arrival_s + wait_s + SERVICE_S), int(WARM_UP * len(arrival_s))
    watched = arrival_s[first], arrival_s[-1]
    came, went = (np.diff(np.searchsorted(times, watched, "right"))[0] for times in (arrival_s, left_s))
    return float(came - went) / float(came)


def stability(asks: Sequence[Ask], how: str = "simulated") -> list[Seen]:
    """What a search for the saturation rate asks."""
    of = {"simulated": waits, "recursion": waits_by_recursion}[how]
    return [Seen(growth(arrivals(rate, n, seed), of(rate, n, seed))) for rate, seed, n in asks]


def stability_by_recursion(asks: Sequence[Ask]) -> list[Seen]:
    """The same by recursion."""
    return stability(asks, "recursion")
