"""Queueing theory as an oracle: systems with a known answer, made with cost models of known shape."""

import numpy as np
import pytest

from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.limits import Limits
from simulator.rng import stream
from tests.engine_cases import EvenCost, serve

SERVICE_S = 0.02


def one_server(rate_rps, n, seed):
    """M/D/1: one seat, one step of SERVICE_S a request, Poisson arrivals; return waits and the tables."""
    arrivals = np.cumsum(stream(seed, "arrivals").exponential(1 / rate_rps, n))
    ones = np.ones(n, np.int64)
    outcome = serve(VllmV1, arrivals, ones, ones, cost=EvenCost(SERVICE_S), limits=Limits(1, 1, 64, 100, 16))
    requests = outcome.tables.requests
    return requests["first_scheduled_s"] - requests["arrival_s"], outcome.tables


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_mean_wait_of_m_d_1(load):
    """Pollaczek-Khinchine: W = rho / (2 (1 - rho)) services. 99.9 % interval over replications."""
    theory_s = load / (2 * (1 - load)) * SERVICE_S
    n, warm_up = 12_000, 2_000
    means = [one_server(load / SERVICE_S, n, seed)[0][warm_up:].mean() for seed in range(10)]
    half_width = 4.78 * np.std(means, ddof=1) / np.sqrt(len(means))  # Student t, 9 degrees of freedom
    assert abs(np.mean(means) - theory_s) < half_width
    assert half_width < 0.35 * theory_s  # an interval that says nothing would prove nothing


def test_utilisation_is_the_offered_load():
    _, tables = one_server(0.6 / SERVICE_S, 20_000, 1)
    steps = tables.steps
    busy_s = (steps["end_s"] - steps["start_s"]).sum()
    assert busy_s / steps["end_s"][-1] == pytest.approx(0.6, rel=0.03)


def test_littles_law_on_the_queue_as_the_engine_sees_it():
    """Arrivals see time averages (PASTA): the queue counted at step starts matches rate times wait."""
    rate_rps = 0.8 / SERVICE_S
    wait_s, tables = one_server(rate_rps, 40_000, 2)
    requests = tables.requests
    enters, leaves = requests["arrival_s"], requests["first_scheduled_s"]
    # the queue length over time, integrated between events
    times = np.concatenate([enters, leaves])
    change = np.concatenate([np.ones_like(enters), -np.ones_like(leaves)])
    order = np.argsort(times, kind="stable")
    queue = np.cumsum(change[order])
    span_s = times.max()
    mean_queue = (queue[:-1] * np.diff(times[order])).sum() / span_s
    assert mean_queue == pytest.approx(len(wait_s) / span_s * wait_s.mean(), rel=1e-9)
    # and the engine's own count of waiting requests, at the start of each step, left behind by M/D/1
    theory = 0.8**2 / (2 * 0.2)
    assert mean_queue == pytest.approx(theory, rel=0.15)


def test_two_tokens_a_request_take_two_steps():
    _, tables = one_server(1.0, 5, 3)
    assert (np.diff(tables.steps["end_s"]) >= SERVICE_S).all()
    outcome = serve(VllmV1, [0.0], [1], [2], cost=EvenCost(SERVICE_S), limits=Limits(1, 1, 64, 100, 16))
    assert outcome.tables.tokens["generated_s"].tolist() == [SERVICE_S, 2 * SERVICE_S]
