"""Feedback queues: small cases."""

import pytest

from policies.scheduling.fastserve import Fastserve
from simulator.replica.limits import Limits
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


class Priced:
    """A step of k decodes takes 1 + k/10 s: from ten unfinished requests on fewer than all are served."""

    def step_s(self, shape):
        return 1.0 + 0.1 * shape.decode_seqs + 0.01 * shape.prefill_tokens


def batches(policy, jobs, limits):
    """Who gets a token at each step, and what is swapped out in it."""
    seen = []

    def look(engine):
        decoding = [each for each in engine.running if each.group is not None] if engine.ticks else []
        chunks = [each for each in engine.running if each in engine.chunks]
        seen.append((sorted(each.id for each in decoding + chunks), engine.shape.swap_out_blocks))

    return play(policy, jobs, limits, cost=Priced(), look=look), seen


def test_fastserve_serves_the_first_queues_and_lets_the_others_keep_their_kv():
    """A batch of two: the one that came last and the first one that has not sunk as far as the others."""
    jobs = [job(i, 0.0, 1, 40) for i in range(3)] + [job(3, 30.0, 1, 3)]
    times, seen = batches(Fastserve(batch_size=2, proactive=False), jobs, seats(8))
    assert all(len(who) <= 2 for who, _ in seen)
    assert times[3][-1] < 30.0 + 3 * 1.3 + 1.3  # it starts with the next step, and is in each
    assert all(each.preemptions == 0 for each in jobs)
    assert sum(swapped for _, swapped in seen) == 0


@pytest.mark.parametrize("proactive", [True, False])
def test_fastserve_moves_kv_to_the_host_before_blocks_run_out(proactive):
    """Forty blocks for four requests of up to fifteen: as many as a batch has are kept free, or none."""
    jobs, left = [job(i, 0.0, 30, 30) for i in range(4)], []

    def look(engine):
        left.append((engine.free_blocks, engine.shape.swap_out_blocks))

    limits = Limits(8, 1000, 1000, 40, 4, num_cpu_blocks=100)
    times = play(Fastserve(batch_size=2, proactive=proactive), jobs, limits, cost=Priced(), look=look)
    first = next(at for at, (_, swapped) in enumerate(left) if swapped)
    before = left[first - 1][0]
    assert (before > 0) == proactive  # in time, or when a decode finds no block
    assert [len(times[i]) for i in range(4)] == [30] * 4
    assert sum(each.preemptions for each in jobs) > 0
