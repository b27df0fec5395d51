"""How long a replica may be left alone, by hand: steps of a second, blocks of four tokens."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.replica.bounds import effect_bound_s, load_bound_s
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.replica.transfers import BlockRequest
from simulator.testing import new_engine, new_job


def decoding(*outputs, blocks=100, **limits):
    """An engine in which jobs of four prompt tokens decode, each with a block and its first token."""
    engine = new_engine(Limits(9, 100, 400, blocks, 4, **limits), decode_piece=second)
    for number, tokens in enumerate(outputs):
        engine.submit(new_job(number, prompt_tokens=4, output_tokens=tokens))
    engine.open(0.0)
    for job in list(engine.waiting):
        assert engine.admit(job, 4)
    engine.retire(engine.advance(), 1.0)
    return engine


def second(seqs, context_tokens):
    """Each step takes a second, whatever is in it."""
    return 0, 1 << 40, 1.0, 0.0


def about(seconds):
    return pytest.approx(seconds, abs=1e-6)


IN_FLIGHT = deque([(5.0, (), True)])


@pytest.mark.parametrize(("blocks", "watched_s"), [(100, 5 + 28), (6, 5 + 7), (4, 5.0)])
def test_it_is_left_alone_until_the_first_is_complete_or_where_ends_are_watched_blocks_lack(
    blocks, watched_s
):
    """29 tokens are left of the shorter one; of free blocks each of the two has half, whole ones, four steps each."""
    engine = decoding(30, 40, blocks=blocks)
    if blocks == 4:
        engine.kv.free_blocks = 1  # half a block each
    assert effect_bound_s(engine, IN_FLIGHT, watched=False, chunks=False) == about(5 + 28)
    assert effect_bound_s(engine, IN_FLIGHT, watched=True, chunks=False) == about(watched_s)


def test_the_end_of_a_step_in_flight_that_completes_a_job_is_the_bound():
    engine = decoding(30, 40)
    in_flight = deque([(5.0, (), True), (6.0, tuple(engine.running), True), (7.0, (), True)])
    for watched in (False, True):
        assert effect_bound_s(engine, in_flight, watched=watched, chunks=False) == 6.0


def arrives(engine):
    engine.submit(new_job(9, prompt_tokens=4))


def leaves(engine):
    engine.leave(next(iter(engine.running)), RequestState.ABANDONED_BY_USER)


def swaps(engine):
    engine.open(1.0)
    assert engine.swap_out(next(iter(engine.running)))


def asks(engine):
    engine.transfers.request(BlockRequest(new_job(9), 4, False, lambda *_: None))


def detaches(engine):
    engine.transfers.detach(next(iter(engine.running)), lambda *_: None)


@pytest.mark.parametrize(
    ("happens", "watched_s", "else_s"),
    [(arrives, 5.0, 6.0), (leaves, 5.0, 6.0), (swaps, 5.0, 6.0), (asks, 5.0, 5.0), (detaches, 5.0, 5.0)],
)
def test_where_others_come_or_go_it_is_a_step_in_flight(happens, watched_s, else_s):
    """The first one if its end matters; else the last, of which nothing is known as yet."""
    engine, in_flight = decoding(30, 40, num_cpu_blocks=9), deque([(5.0, (), True), (6.0, (), True)])
    happens(engine)
    assert effect_bound_s(engine, in_flight, watched=True, chunks=False) == watched_s
    assert effect_bound_s(engine, in_flight, watched=False, chunks=False) == else_s
    assert effect_bound_s(engine, in_flight, watched=False, chunks=True) == 5.0
    assert load_bound_s(engine, in_flight) == (5.0 if happens is not swaps else about(6.0 + 37))
    in_flight[1] = 6.0, tuple(engine.running)[:1], True  # with it one is complete; another may end before it
    assert effect_bound_s(engine, in_flight, watched=True, chunks=False) == watched_s
    assert effect_bound_s(engine, in_flight, watched=False, chunks=False) == else_s


def test_without_a_price_of_steps_to_come_it_is_a_step_in_flight():
    engine, in_flight = decoding(30, 40), deque([(5.0, (), True), (6.0, (), True)])
    engine.decode_piece = None
    assert effect_bound_s(engine, in_flight, watched=True, chunks=False) == 5.0
    assert effect_bound_s(engine, in_flight, watched=False, chunks=False) == 6.0
    assert load_bound_s(engine, in_flight) == 5.0


@pytest.mark.parametrize(("output", "bound_s"), [(2, 5.0), (3, about(6.0)), (4, about(7.0))])
def test_the_last_token_is_that_of_the_next_steps(output, bound_s):
    """The first one to come is in flight; with one more the bound is the second one's end."""
    engine = decoding(output, 40)
    assert effect_bound_s(engine, IN_FLIGHT, watched=True, chunks=False) == bound_s


def test_outstanding_tokens_become_fewer_with_the_step_that_completes_a_job():
    """One, two or all of its steps being in flight, of which the tokens are counted, or not."""
    engine = decoding(4, 9)
    for steps in (1, 2, 3, 4):
        in_flight = deque((5.0 + nth, (), True) for nth in range(steps))
        assert load_bound_s(engine, in_flight) == about(5.0 + 2)


def test_a_job_that_a_step_in_flight_completes_is_outstanding_no_more():
    engine = decoding(2, 9)
    engine.open(1.0)
    assert engine.decode_all()
    completing = engine.advance()
    assert [job.id for job in completing] == [0]
    assert load_bound_s(engine, deque([(5.0, completing, True)])) == about(5.0 + 6)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([3, 9, 25, 40])), min_size=1, max_size=4),
    st.sampled_from([1, 13, 50, 100, math.inf]),
    st.integers(0, 3),
)
def test_steps_to_come_take_what_their_contexts_cost_and_beyond_the_piece_no_less(lengths, width, ticks):
    def piece(seqs, context_tokens):
        low = 0 if width == math.inf else context_tokens - context_tokens % width
        return low, low + width, 0.5 + 0.25 * seqs, 0.01

    engine = new_engine(Limits(9, 1000, 400, 1000, 4), decode_piece=piece)
    for number, (prompt, output) in enumerate(lengths):
        engine.submit(new_job(number, prompt_tokens=prompt, output_tokens=output + ticks))
    for now_s in range(1 + ticks):
        engine.open(float(now_s))
        for job in list(engine.waiting):
            assert engine.admit(job, job.prompt_tokens)
        engine.decode_all()
        engine.retire(engine.advance(), now_s + 1.0)
    jobs = list(engine.running)
    known = sum(job.known_tokens for job in jobs)
    end, lasts_s = piece(len(jobs), known)[1], 0.0
    steps = min(job.output_tokens - job.generated_tokens for job in jobs) - 1
    for step in range(steps):
        context_tokens = known + step * len(jobs)
        if not step or context_tokens + len(jobs) <= end:  # else as long as the one before
            step_s = 0.5 + 0.25 * len(jobs) + 0.01 * context_tokens
        lasts_s += step_s
    for watched in (False, True):
        assert effect_bound_s(engine, IN_FLIGHT, watched, False) == pytest.approx(5.0 + lasts_s, rel=1e-7)
    assert load_bound_s(engine, IN_FLIGHT) == pytest.approx(5.0 + lasts_s, rel=1e-7)
