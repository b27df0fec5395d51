"""The gateway as a station: against an event simulation, queueing theory and the benchmarks of its presets."""

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from policies.delivery.gateway import PRESETS, Gateway
from simulator import Scenario, run
from simulator.metrics import _segments
from simulator.scenario.discover import complete
from tests.unit.test_delivery import ROWS, deliver


def own(workers=1, request_s=0.0, token_s=0.0):
    return Gateway("own", workers, request_s, token_s)


def in_simpy(rows, workers, request_s, token_s):
    """The same station with SimPy's queue; a token is there when it and those before it have been sent."""
    environment = simpy.Environment()
    station = simpy.Resource(environment, workers)
    sent = [[0.0] * len(row) for row in rows]

    def token(at_s, row, index):
        yield environment.timeout(at_s)
        with station.request() as turn:
            yield turn
            yield environment.timeout(token_s + (request_s if index == 0 else 0.0))
        sent[row][index] = environment.now

    jobs = [(at_s, row, index) for row, times in enumerate(rows) for index, at_s in enumerate(times)]
    for job in jobs:
        environment.process(token(*job))
    environment.run()
    return [np.maximum.accumulate(row) for row in sent]


@given(ROWS, st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from([0.0, 0.01, 0.2]))
def test_it_is_a_station_of_an_event_simulation(rows, workers, request_s, token_s):
    found = deliver(own(workers, request_s, token_s), rows)
    for row, times, expected in zip(rows, found, in_simpy(rows, workers, request_s, token_s), strict=True):
        assert times == pytest.approx(expected, abs=1e-6)
        assert (times >= row).all()
        assert (np.diff(times) >= 0).all()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(("request_s", "tokens"), [(0.005, 1), (0.005, 50), (0.0, 20)])
def test_it_saturates_at_workers_over_the_time_of_a_request(workers, request_s, tokens):
    token_s = 0.0002
    capacity = workers / (request_s + tokens * token_s)

    def sent_rps(load):
        begins = np.arange(2000) / (load * capacity)
        rows = [at_s + 0.01 * np.arange(tokens) for at_s in begins]
        return 2000 / max(row[-1] for row in deliver(own(workers, request_s, token_s), rows))

    assert sent_rps(3.0) == pytest.approx(capacity, rel=0.05)
    assert sent_rps(1.5) == pytest.approx(capacity, rel=0.05)
    assert sent_rps(0.5) == pytest.approx(0.5 * capacity, rel=0.05)


def delays_s(gateway, rate_rps, requests=20_000):
    """What requests of one token are delayed by that come at random."""
    come_s = np.cumsum(np.random.default_rng(3).exponential(1 / rate_rps, requests))
    return np.concatenate(deliver(gateway, [np.array([at_s]) for at_s in come_s])) - come_s


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_worker_waits_as_m_d_1(load):
    """Pollaczek-Khinchine: W = rho / (2 (1 - rho)) services."""
    waits = delays_s(own(1, 0.01), load / 0.01, 60_000) / 0.01 - 1
    assert waits.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_the_presets_meet_the_benchmarks_that_they_are_from():
    """TensorZero's gateway benchmarks of 30 July 2025, c7i.xlarge (4 vCPUs): mean overhead in ms."""
    python, compiled = Gateway(), Gateway("compiled")
    assert delays_s(python, 100).mean() * 1e3 == pytest.approx(4.91, rel=0.03)
    assert 4.91 < delays_s(python, 500).mean() * 1e3 < 7.45
    assert delays_s(python, 1000)[-1] > 1.0  # measured: it fails
    assert delays_s(compiled, 10_000).mean() * 1e3 == pytest.approx(0.37, rel=0.05)


def test_times_beside_a_preset_and_no_workers_are_refused():
    with pytest.raises(ValueError, match="given beside preset = 'python'"):
        Gateway(token_s=0.001)
    for wrong in ((0, 0.0, 0.0), (1, -1.0, 0.0), (1, 0.0, float("nan"))):
        with pytest.raises(ValueError, match="expected workers of 1 or more"):
            own(*wrong)
    assert set(PRESETS) == {"python", "compiled"}
    assert complete("delivery", "gateway", {})["workers"] == 4


def served(level="tokens"):
    return run(
        Scenario(
            run={"trace_level": level},
            policy={"delivery": {"name": "gateway", "preset": "own", "workers": 1, "token_s": 0.001}},
            workload={"arrivals": "poisson", "rate_rps": 30.0, "requests": 200, "lengths": "chat_azure2023"},
        )
    )


def test_requests_wait_for_one_another_however_a_run_is_cut(monkeypatch):
    whole = served()
    assert len(whole.tokens()) > 3000
    monkeypatch.setattr(_segments, "PART", 500)
    cut = served()
    assert (
        cut.tokens()["delivered_s"].to_numpy().tobytes() == whole.tokens()["delivered_s"].to_numpy().tobytes()
    )
    sent_s = np.sort(whole.tokens()["delivered_s"].to_numpy())
    assert (np.diff(np.unique(sent_s)) > 0.00099).all()  # one worker: a millisecond apart
    assert served("requests").summary()["latency"] == whole.summary()["latency"]
