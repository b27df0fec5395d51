"""Feedback queues: small cases."""

import pytest

from policies.scheduling.fastserve import Fastserve
from tests.ranked_cases import job, play, seats


def test_fastserve_sinks_by_quanta_that_double():
    policy, queue_at = Fastserve(quantum_steps=2.0), {}
    long = job(0, 0.0, 1, 40)

    def look(engine):
        queue_at[long.generated_tokens] = policy.rank(long)

    play(policy, [long], seats(1), look=look)
    sank = [tokens for tokens in range(1, 40) if queue_at[tokens] > queue_at[tokens - 1]]
    assert sank == [3, 7, 15, 31]  # after 2, 2 + 4, ... further steps


def test_fastserve_newcomers_go_before_those_that_have_sunk():
    times = play(Fastserve(), [job(0, 0.0, 1, 30), job(1, 9.0, 1, 3)], seats(1))
    assert times[1][0] == 10.0


def test_fastserve_long_prompts_skip_the_first_queues():
    """At ten tokens a step, 160 tokens take 16 steps: the fifth queue, below one that has got five tokens."""
    jobs = [job(0, 0.0, 1, 10), job(1, 5.0, 160, 3), job(2, 6.0, 1, 1)]
    times = play(Fastserve(starvation_s=100.0), jobs, seats(1, budget=10))
    assert times[2] == [7.0]
    assert times[0][-1] == 11.0
    assert times[1][0] == 27.0


@pytest.mark.parametrize("starvation_s", [20.0, 1000.0])
def test_fastserve_raises_the_starving(starvation_s):
    """Nine hundred tokens, ten a second, go to a low queue; a house full of short requests stays above it."""
    long = job(0, 0.0, 900, 5)
    short = [job(1 + i, 3.0 + 2 * i, 1, 2) for i in range(100)]
    policy = Fastserve(quantum_steps=4.0, starvation_s=starvation_s, starvation_steps=1)
    times = play(policy, [long, *short], seats(1, budget=10))
    assert (times[0][0] < 200.0) == (starvation_s == 20.0)
    if starvation_s == 20.0:
        assert times[0][0] == 3.0 + 20.0 + 2.0 + 90.0  # it waits for one that is in queue 0 already
