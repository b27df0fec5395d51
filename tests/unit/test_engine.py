"""Small stories about the engine: ties, first tokens, preemption, routing, limits, the end of a run."""

import numpy as np
import pytest

from policies.routing.least_loaded import LeastLoaded
from policies.routing.power_of_two import PowerOfTwo
from policies.routing.round_robin import RoundRobin
from policies.scheduling.orca import Orca
from policies.scheduling.static import Static
from policies.scheduling.vllm_v0 import VllmV0
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.errors import InputError
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.testing import new_job
from simulator.workload.workload import Workload
from tests.engine_cases import EvenCost, native, serve

JOB = new_job(0, 0.0, 1, 1, 1)

SECOND = EvenCost(1.0)


def synchronous():
    return VllmV1(async_scheduling=False)


def times(outcome, request):
    tokens = outcome.tables.tokens
    return tokens["generated_s"][tokens["request_id"] == request].tolist()


def test_an_arrival_at_the_instant_of_a_step_end_is_in_the_next_step():
    outcome = serve(synchronous, [0.0, 1.0], [4, 4], [3, 1], cost=SECOND)
    assert times(outcome, 1) == [2.0]


def test_asynchronous_scheduling_sees_an_arrival_one_step_later():
    """The next step is planned when the one before starts."""
    outcome = serve(VllmV1, [0.0, 1.0], [4, 4], [5, 1], cost=SECOND)
    assert times(outcome, 1) == [3.0]
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_simultaneous_arrivals_at_an_idle_server_share_the_first_step():
    outcome = serve(VllmV1, [0.3, 0.3, 0.3], [4, 4, 4], [1, 1, 1], cost=SECOND)
    assert outcome.tables.steps["prefill_seqs"].tolist() == [3]


def test_arrival_times_are_kept_to_the_last_bit():
    arrivals = np.cumsum(np.full(50, 0.1))
    outcome = serve(VllmV1, arrivals, [3] * 50, [1] * 50, cost=EvenCost(1e-3))
    assert outcome.tables.steps["start_s"].tolist() == arrivals.tolist()


def test_first_token_comes_with_the_step_that_completes_the_prompt():
    outcome = serve(VllmV1, [0.0], [10], [2], cost=SECOND, limits=Limits(4, 4, 64, 100, 16))
    assert outcome.tables.steps["prefill_tokens"].tolist() == [4, 4, 2, 0]
    assert times(outcome, 0) == [3.0, 4.0]


def test_recompute_preemption_delivers_every_token_once():
    limits = Limits(4, 64, 40, 6, 4)  # five usable blocks of four tokens
    outcome = serve(VllmV1, [0.0, 0.0], [7, 7], [8, 8], cost=SECOND, limits=limits)
    requests = outcome.tables.requests
    assert requests["preemptions"].sum() > 0
    assert requests["preemptions"][0] == 0  # the one admitted last gives way
    assert requests["delivered_tokens"].tolist() == [8, 8]


def test_v0_computes_prompts_in_steps_of_their_own():
    outcome = serve(VllmV0, [0.0, 1.0], [4, 4], [4, 4], cost=SECOND)
    steps = outcome.tables.steps
    assert ((steps["prefill_tokens"] == 0) | (steps["decode_seqs"] == 0)).all()
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]  # the decode waits while the second prompt runs


def test_v1_mixes_decodes_and_prompts():
    outcome = serve(VllmV1, [0.0, 1.0], [4, 4], [4, 4], cost=SECOND)
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0]


def test_v0_refuses_what_can_never_fit():
    outcome = serve(VllmV0, [0.0, 0.0], [90, 4], [2, 2], limits=Limits(4, 100, 100, 5, 16))
    assert outcome.tables.requests["state"].tolist() == [RequestState.FAILED, RequestState.COMPLETED]
    assert outcome.tables.requests["delivered_tokens"].tolist() == [0, 2]


def test_static_starts_no_request_before_the_batch_is_done():
    outcome = serve(Static, [0.0, 0.0, 0.5], [4, 4, 4], [2, 5, 1], cost=SECOND)
    assert times(outcome, 2) == [6.0]


def test_orca_lets_requests_join_at_every_step_and_reserves_to_the_end():
    outcome = serve(Orca, [0.0, 0.5], [4, 4], [5, 1], cost=SECOND)
    assert times(outcome, 1) == [2.0]
    tight = Limits(4, 100, 50, 3, 4)  # 12 tokens: one request of 4 + 5 tokens at a time
    outcome = serve(Orca, [0.0, 0.5], [4, 4], [5, 5], cost=SECOND, limits=tight)
    assert times(outcome, 1)[0] == 6.0
    assert outcome.tables.requests["preemptions"].tolist() == [0, 0]


def test_sequences_stop_at_max_model_len():
    outcome = serve(VllmV1, [0.0], [10], [50], limits=Limits(4, 64, 16, 100, 16))
    assert outcome.tables.requests["delivered_tokens"].tolist() == [6]
    assert outcome.tables.requests["state"].tolist() == [RequestState.COMPLETED]


def test_the_horizon_cuts_what_would_end_on_it():
    outcome = serve(VllmV1, [0.0, 2.5, 9.0], [4, 4, 4], [9, 9, 9], cost=SECOND, horizon_s=5.0)
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0]
    requests = outcome.tables.requests
    assert requests["state"].tolist() == [RequestState.UNFINISHED] * 2  # the third had not arrived
    assert requests["end_s"].tolist() == [5.0, 5.0]
    assert outcome.end_s == 5.0


def test_a_stop_keeps_what_is_finished():
    n = 30_000
    outcome = serve(VllmV1, np.arange(n) * 10.0, [4] * n, [1] * n, cost=SECOND, should_stop=lambda: True)
    states = outcome.tables.requests["state"]
    assert outcome.interrupted
    assert 0 < len(states) < n
    assert (states[:-1] == RequestState.COMPLETED).all()


def test_delivery_comes_a_constant_after_generation():
    outcome = serve(VllmV1, [0.0], [4], [3], cost=SECOND, frontend_s=0.25)
    assert outcome.tables.tokens["delivered_s"].tolist() == [1.25, 2.25, 3.25]
    assert outcome.tables.requests["first_token_s"].tolist() == [1.25]
    assert outcome.tables.requests["end_s"].tolist() == [3.25]
    assert outcome.end_s == 3.25


class FakeReplica:
    def __init__(self, outstanding_tokens):
        self.outstanding_tokens = outstanding_tokens
        self.outstanding_requests = 1


def test_round_robin_takes_turns():
    router = RoundRobin()
    replicas = [FakeReplica(0)] * 3
    assert [router.route(JOB, replicas, None) for _ in range(5)] == [0, 1, 2, 0, 1]


def test_least_loaded_takes_the_fewest_outstanding_tokens():
    assert LeastLoaded().route(JOB, [FakeReplica(9), FakeReplica(2), FakeReplica(2)], None) == 1


def test_power_of_two_takes_the_better_of_two():
    import random

    replicas = [FakeReplica(5), FakeReplica(1), FakeReplica(9)]
    chosen = [PowerOfTwo().route(JOB, replicas, random.Random(seed)) for seed in range(200)]
    assert set(chosen) == {0, 1}  # the worst of three never wins a comparison
    assert PowerOfTwo().route(JOB, replicas[:1], random.Random(0)) == 0


@pytest.mark.parametrize("answer", [np.int64(1), np.uint8(1)])
def test_a_router_may_answer_with_any_whole_number(answer):
    class Second:
        def route(self, job, replicas, draw):
            return answer

    outcome = serve(VllmV1, [0.0], [5], [2], replicas=2, router=Second())
    assert outcome.tables.requests["replica"].tolist() == [1]


@pytest.mark.parametrize("answer", [7, -1, np.int64(2), True, 1.0, "a", None])
def test_a_router_that_names_no_replica_is_refused(answer):
    class Lost:
        def route(self, job, replicas, draw):
            return answer

    with pytest.raises(InputError, match=r"Lost\.route returned .*expected a number from 0 to 1"):
        serve(VllmV1, [0.0], [5], [2], replicas=2, router=Lost())


@pytest.mark.parametrize("policy", [VllmV0, VllmV1])
def test_a_watermark_is_a_share(policy):
    with pytest.raises(ValueError, match="watermark is a share"):
        policy(watermark=2.0)


@pytest.mark.parametrize("router", [RoundRobin, LeastLoaded, PowerOfTwo])
def test_replicas_share_the_work(router):
    outcome = serve(VllmV1, np.arange(60) * 0.01, [50] * 60, [20] * 60, replicas=3, router=router(), seed=4)
    counts = np.bincount(outcome.tables.requests["replica"], minlength=3)
    assert (counts > 5).all()
    assert set(outcome.tables.tokens["replica"].tolist()) == {0, 1, 2}


def test_least_loaded_balances_uneven_requests_better_than_turns():
    prompts = [400 if i % 2 == 0 else 4 for i in range(80)]
    late = {}
    for router in (RoundRobin(), LeastLoaded()):
        outcome = serve(VllmV1, np.arange(80) * 0.02, prompts, [10] * 80, replicas=2, router=router)
        requests = outcome.tables.requests
        late[type(router)] = (requests["end_s"] - requests["arrival_s"]).max()
    assert late[LeastLoaded] < late[RoundRobin]


def clients(n, concurrency, outputs, **options):
    traffic = Workload(
        "loop", np.zeros(n), [8] * n, outputs, max(outputs), "clients in a loop", concurrency=concurrency
    )
    return simulate(
        traffic,
        colocated(
            synchronous,
            SECOND,
            Limits(64, 4096, 4096, 10_000, 16),
            LeastLoaded(),
            rules=native(synchronous),
            **options,
        ),
    )


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("frontend_s", [0.0, 0.25])
def test_closed_loop_clients_send_when_they_have_their_answer(replicas, frontend_s):
    outcome = clients(30, 4, [3, 5, 2] * 10, replicas=replicas, frontend_s=frontend_s)
    requests = outcome.tables.requests
    arrival_s, end_s = requests["arrival_s"], requests["end_s"]
    assert arrival_s[:4].tolist() == [0.0] * 4
    # each further request arrives at the end of an earlier one, and each end brings one
    assert sorted(arrival_s[4:].tolist()) == sorted(end_s.tolist())[: 30 - 4]
    for i in range(30):
        assert ((arrival_s <= arrival_s[i]) & (end_s > arrival_s[i])).sum() <= 4
    assert (requests["state"] == RequestState.COMPLETED).all()


def test_closed_loop_stops_at_the_horizon():
    outcome = clients(1000, 2, [5] * 1000, horizon_s=22.0)
    requests = outcome.tables.requests
    assert len(requests["state"]) < 20
    assert (requests["state"] == RequestState.UNFINISHED).sum() == 2
