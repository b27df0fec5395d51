"""What a live migration costs: its handshakes, and its share of both GPUs."""

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.cluster.deployment import Fault, Faults, MoveCosts
from tests.small_clusters import First, MoveOnce, places, serve, times, together, traffic, transfers

# A prompt of 47 tokens, moved at 2.5 at 24 tokens/s, as in test_live_migration.py


def moved(costs, prompts=(47,), outputs=(9,), **more):
    requests = traffic([0.0] * len(prompts), list(prompts), list(outputs))
    return serve(requests, together(migration=MoveOnce(2.5), moves=costs, **more))


def test_a_handshake_comes_before_each_stage_and_while_it_stands_still():
    """Agreed at 2.75, copied at 4.75, agreed at 5.0 as a step ends; agreed at 5.25, and three tokens sent."""
    outcome = moved(MoveCosts(handshake_s=0.25))
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.375, 7.375, 8.375, 9.375]
    assert transfers(outcome) == [(0, 0, 1, 2.5, 5.375, 51.0, True)]


def test_a_request_that_ends_during_the_handshake_stays():
    outcome = moved(MoveCosts(handshake_s=5.0), outputs=(4,))
    assert times(outcome, 0) == [1.0, 2.0, 3.0, 4.0]
    assert [each[5:] for each in transfers(outcome)] == [(0.0, False)]


def test_a_copy_takes_its_share_of_both_gpus_while_it_lasts():
    """The step planned at 3.0 takes half as long again; when it ends the copy is there, and nothing is left of it."""
    outcome = moved(MoveCosts(gpu_share=0.5))
    assert times(outcome, 0)[:4] == [1.0, 2.0, 3.0, 4.5]
    assert np.diff(times(outcome, 0)[4:]).tolist() == pytest.approx([1.0] * 4)
    assert places(outcome, 0) == [0] * 4 + [1] * 5


class Apart(First):
    """The first request to the first replica, the others to the second."""

    def route(self, job, replicas, draw):
        return min(job.id, 1)


def test_those_at_the_destination_are_slowed_too_and_with_a_slow_replica_even_more():
    costs, two = MoveCosts(gpu_share=0.5), {"prompts": (47, 8), "outputs": (9, 9), "router": Apart()}
    assert times(moved(MoveCosts(), **two), 1) == list(range(1, 10))
    there = times(moved(costs, **two), 1)
    assert there[:4] == [1.0, 2.0, 3.0, 4.5]
    assert np.diff(there[5:]).tolist() == pytest.approx([1.0] * 3)
    slow = Faults([Fault("slow", 1, 2.5, 100.0, 2.0)])
    assert times(moved(costs, faults=slow, **two), 1)[3] == 6.0


def test_a_move_on_real_hardware_stands_still_for_tens_of_milliseconds():
    """Llumnix (OSDI 2024) reports 20 to 30 ms; it was 0.1 ms without handshakes and set-up."""
    scenario = Scenario(
        workload={
            "arrivals": "poisson", "rate_rps": 24, "requests": 600, "lengths": "chat_azure2023",
        },
        cluster={"replicas": 4},
        policy={"routing": "random", "migration": {"name": "tbt_chasing", "tbt_s": 0.01}},
    )  # fmt: skip
    result = run(scenario)
    moves = result.transfers().to_pydict()
    tokens = result.tokens().to_pydict()
    owner, generated_s = np.array(tokens["request_id"]), np.array(tokens["generated_s"])
    gaps_s = []
    for request, end_s, step_end_s in zip(
        moves["request_id"], moves["end_s"], moves["step_end_s"], strict=True
    ):
        if step_end_s is not None:
            mine = generated_s[owner == request]
            gaps_s.append(step_end_s - mine[mine < end_s].max())
    assert len(gaps_s) >= 10
    assert 0.015 < float(np.median(gaps_s)) < 0.06
