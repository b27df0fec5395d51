"""When running requests give way though KV is left: to keep the time between tokens short, or for late readers."""

import numpy as np
import pytest

from policies.scheduling.continuous import Continuous
from simulator.replica.limits import Limits
from simulator.testing import new_engine, new_job
from tests.engine_cases import serve


class DecodeCost:
    """10 ms a decode, and 1 ms a prompt's token."""

    def step_s(self, shape):
        return 0.01 * shape.decode_seqs + 0.001 * shape.prefill_tokens


def decoding(jobs, *, waiting=(), seats=64, num_gpu_blocks=100, now_s=1.0):
    """A ledger in whose next step these jobs all decode, while others wait."""
    limits = Limits(seats, 8192, 8192, num_gpu_blocks, 10, num_cpu_blocks=100)
    engine = new_engine(limits, price=DecodeCost().step_s)
    engine.open(0.0)
    for job in jobs:
        engine.submit(job)
        assert engine.admit(job, job.prompt_tokens, job.prompt_tokens)
    engine.retire(engine.advance(), now_s)
    for job in waiting:
        engine.submit(job)
    engine.open(now_s)
    return engine


def ids(jobs):
    return sorted(job.id for job in jobs)


def five(**options):
    return [new_job(i, 0.1 * i, 20, 99, **options) for i in range(5)]


@pytest.mark.parametrize("mechanism", ["recompute", "swap"])
def test_decodes_give_way_the_latest_first_until_their_step_keeps_the_bound(mechanism):
    engine = decoding(five())
    Continuous(mechanism, trigger="tbt", tbt_s=0.035).plan(engine)
    assert ids(engine.preempted) == [3, 4]
    assert engine.shape.decode_seqs == 3
    assert ids(engine.swapped) == ([3, 4] if mechanism == "swap" else [])


def test_none_gives_way_within_the_bound_nor_where_it_cannot_be_kept():
    for tbt_s in (0.05, 0.009):  # five take 50 ms, one 10 ms
        engine = decoding(five())
        Continuous(trigger="tbt", tbt_s=tbt_s).plan(engine)
        assert not engine.preempted
        assert engine.shape.decode_seqs == 5


def test_none_starts_whose_decode_would_exceed_the_bound():
    late = new_job(9, 0.0, 20, 99)
    for tbt_s, starts in ((0.055, False), (0.065, True)):
        engine = decoding(five(), waiting=[late])
        Continuous(trigger="tbt", tbt_s=tbt_s).plan(engine)
        assert (late in engine.running) == starts
        assert engine.shape.prefill_tokens <= 15
        late = new_job(9, 0.0, 20, 99)


def test_where_nothing_decodes_a_prompt_starts_whole():
    engine = decoding([], waiting=[new_job(9, 0.0, 500, 99)])
    Continuous(trigger="tbt", tbt_s=0.02).plan(engine)
    assert engine.shape.prefill_tokens == 500


def test_steps_of_decodes_keep_the_bound_and_all_is_served():
    outcome = serve(
        lambda: Continuous(trigger="tbt", tbt_s=0.045),
        np.arange(12) * 0.2,
        [30] * 12,
        [40] * 12,
        cost=DecodeCost(),
    )
    steps = outcome.tables.steps
    lasted_s = (steps["end_s"] - steps["start_s"])[steps["prefill_tokens"] == 0]
    assert lasted_s.max() <= 0.045 + 1e-9
    assert outcome.tables.requests["delivered_tokens"].tolist() == [40] * 12


# For late readers


def readers():
    """Of these the third is furthest ahead: its tokens are due every 10 s; the others' every second."""
    return [new_job(i, 0.0, 20, 99, pace_s=10.0 if i == 2 else 1.0) for i in range(4)]


@pytest.mark.parametrize("mechanism", ["recompute", "swap"])
def test_the_reader_furthest_ahead_gives_its_seat_to_one_who_is_late(mechanism):
    late = new_job(9, 0.0, 20, 99, pace_s=0.5)  # due at 0.5 s; it is 1 s
    engine = decoding(readers(), waiting=[late], seats=4)
    policy = Continuous(mechanism, trigger="due", pause_s=0.5)
    policy.plan(engine)
    assert ids(engine.preempted) == [2]
    engine.retire(engine.advance(), 1.1)
    engine.open(1.1)
    policy.plan(engine)  # the seat is not for the one that gave way
    assert late in engine.running
    assert ids((*engine.waiting, *engine.swapped)) == [2]


def test_blocks_are_made_for_one_who_is_late_too():
    late = new_job(9, 0.0, 45, 99, pace_s=0.5)  # five blocks; two of a reader are not enough
    engine = decoding(readers(), waiting=[late], num_gpu_blocks=8 + 5)
    Continuous(trigger="due", pause_s=0.5).plan(engine)
    assert ids(engine.preempted) == [0, 2]  # the four others open a block each


@pytest.mark.parametrize(
    ("waits", "seats", "pause_s"),
    [
        (new_job(9, 0.9, 20, 99, pace_s=0.5), 4, 0.5),  # not late
        (new_job(9, 0.0, 20, 99, pace_s=0.5), 5, 0.5),  # there is a seat
        (new_job(9, 0.0, 20, 99, pace_s=0.5), 4, 50.0),  # no reader has text for so long
    ],
)
def test_else_no_reader_gives_way(waits, seats, pause_s):
    engine = decoding(readers(), waiting=[waits], seats=seats)
    Continuous(trigger="due", pause_s=pause_s).plan(engine)
    assert not engine.preempted


def test_late_readers_wait_less_for_it_where_seats_are_short():
    def mean_first_token_s(policy):
        outcome = serve(
            policy,
            np.arange(20) * 0.1,
            [10] * 20,
            [60] * 20,
            cost=DecodeCost(),
            limits=Limits(4, 99, 99, 999, 10),
        )
        requests = outcome.tables.requests
        assert requests["delivered_tokens"].tolist() == [60] * 20
        return (requests["first_token_s"] - requests["arrival_s"]).mean()

    # Readers take a token each 50 ms, a step of four takes 40 ms: they get ahead.
    assert mean_first_token_s(lambda: Continuous(trigger="due", pause_s=0.1)) < 0.9 * mean_first_token_s(
        Continuous
    )
