"""API servers: what they do to bursts and to a light load, and requests that leave before they have been read."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import InputError, Scenario, run
from simulator.clock import Clock
from simulator.cluster.front_end import FrontEnd
from simulator.report.explain import explain
from simulator.report.phases import Histories
from tests.cluster_cases import deployments, play
from tests.engine_cases import CHOICES
from tests.examples import examples
from tests.laws.test_cluster_laws import check, same

ALONE_MS = 10.0
LIGHT = {"arrivals": "constant", "rate_rps": 2.0, "requests": 20, "prompt_tokens": 100, "output_tokens": 5}


def served(ms, **keys):
    engine = {"frontend_ms_per_request": ms, **keys.pop("engine", {})}
    return run(Scenario(**{"workload": LIGHT, **keys, "engine": engine}))


BURST = {"arrivals": "burst", "requests": 20, "prompt_tokens": 100, "output_tokens": 5}


def ttft_s(result):
    requests = result.requests()
    return np.asarray(requests["first_token_s"]) - np.asarray(requests["arrival_s"])


def read_by(arrival_s, request_s, servers):
    """When each has been read by servers that all of them share: a fluid, piece by piece."""
    left, through, now_s = dict.fromkeys(range(len(arrival_s)), request_s), {}, 0.0
    while left:
        here = [i for i in left if arrival_s[i] <= now_s]
        later = [arrival_s[i] - now_s for i in left if arrival_s[i] > now_s]
        if not here:
            now_s += min(later)
            continue
        rate = min(1.0, servers / len(here))
        piece_s = min([left[i] / rate for i in here] + later)
        now_s += piece_s
        for i in here:
            left[i] -= rate * piece_s
            if left[i] <= 1e-9:
                through[i] = now_s
                del left[i]
    return [through[i] for i in range(len(arrival_s))]


@settings(max_examples=examples(100), deadline=None)
@given(
    arrival_s=st.lists(st.floats(0, 5).map(lambda s: round(s, 2)), min_size=1, max_size=12).map(sorted),
    request_s=st.sampled_from([0.01, 0.3, 2.0]),
    servers=st.integers(1, 4),
)
def test_servers_are_shared_by_all_that_they_read(arrival_s, request_s, servers):
    clock, found = Clock(), {}
    front_end = FrontEnd(
        clock, request_s, lambda: servers, lambda job: found.setdefault(job.id, clock.now) is not None
    )
    for i, at_s in enumerate(arrival_s):
        clock.call_at(at_s, front_end.take, SimpleNamespace(id=i))
    while clock.run_some(100):
        pass
    assert [found[i] for i in range(len(arrival_s))] == pytest.approx(
        read_by(arrival_s, request_s, servers), abs=1e-7
    )
    assert front_end.read == sorted(found.items())


def test_a_lone_request_waits_for_its_own_reading_alone():
    assert ttft_s(served(ALONE_MS)) == pytest.approx(ttft_s(served(0.0)) + ALONE_MS / 1e3, abs=1e-9)


@pytest.mark.parametrize("replicas", [1, 4])
def test_of_a_burst_none_is_through_before_all_are_read(replicas):
    burst = {"arrivals": "burst", "requests": 40, "prompt_tokens": 10, "output_tokens": 2}
    found = ttft_s(served(ALONE_MS, workload=burst, cluster={"replicas": replicas}))
    assert found.min() > 40 * ALONE_MS / 1e3 / replicas


def test_a_client_that_gives_up_meanwhile_never_reaches_an_engine():
    burst = {"arrivals": "burst", "requests": 40, "prompt_tokens": 10, "output_tokens": 2}
    rule = {"abandonment": {"name": "missed_slo", "ttft_s": 0.2}}
    found = served(ALONE_MS, workload=burst, policy=rule)
    assert found.steps().num_rows == 0
    assert set(found.requests()["state"].to_pylist()) == {"abandoned_by_system"}


def test_what_has_not_been_read_by_the_horizon_is_unserved():
    burst = {"arrivals": "burst", "requests": 40, "prompt_tokens": 10, "output_tokens": 2}
    found = served(ALONE_MS, workload=burst, run={"horizon_s": 0.2})
    assert set(found.requests()["state"].to_pylist()) == {"unfinished"}
    assert found.summary()["smooth_goodput"]["benefit_tokens"] < 0


def test_clients_of_a_closed_loop_wait_too():
    loop = {"arrivals": "burst", "concurrency": 4, "requests": 12, "prompt_tokens": 10, "output_tokens": 2}
    assert ttft_s(served(ALONE_MS, workload=loop)).min() > ALONE_MS / 1e3


@pytest.mark.parametrize(
    "mode", ["disaggregated", "faults", "migration", "scaling", "abandonment", "sessions"]
)
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data(), request_s=st.sampled_from([1e-4, 0.05, 3.0]))
def test_nothing_is_lost_and_equal_seeds_give_equal_bytes(mode, data, request_s):
    traffic, deployment = data.draw(deployments(tuple(CHOICES), (mode,)))
    once, again = (copy.deepcopy(deployment)._replace(frontend_request_s=request_s) for _ in range(2))
    cluster, outcome = play(traffic, once)
    check(traffic, once, cluster, outcome)
    same(outcome.tables, play(traffic, again)[1].tables)


def test_an_explanation_tells_reading_from_queueing():
    result = served(ALONE_MS, workload=BURST, engine={"max_num_seqs": 4})
    histories = Histories.of(result)
    for request in range(20):
        read, queued, *_ = histories.phases(request)
        assert (read.doing, read.lasts_s) == ("read", pytest.approx(20 * ALONE_MS / 1e3))
        assert queued.doing == ("prefill" if request < 4 else "queued")
    assert "0.2000 s  read by its API server\n" in explain(histories, 19)
    assert "read_s" not in served(0.0).requests().column_names


def test_what_left_unread_was_being_read_to_its_end():
    histories = Histories.of(served(ALONE_MS, workload=BURST, run={"horizon_s": 0.1}))
    assert [(each.doing, each.lasts_s) for each in histories.phases(3)] == [("read", 0.1)]


def test_a_time_below_zero_is_refused():
    with pytest.raises(InputError, match=r"engine\.frontend_ms_per_request: expected a number >= 0"):
        served(-1.0)
