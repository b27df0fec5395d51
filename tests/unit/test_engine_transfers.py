"""One engine's end of a transfer: what is shared with its cache, what a job on its way leaves, and who gives way."""

import pytest

from simulator.replica.content import Content
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.radix_pages import RadixPages
from simulator.replica.request import RequestState
from simulator.replica.transfers import BlockRequest
from simulator.testing import new_engine, new_job
from tests.unit.test_step_ledger import LIMITS, arrives


def caching(kind=PrefixBlocks, blocks=40):
    """An engine whose cache has the blocks of a prompt of 16, which has been served; later ones begin alike."""
    cache = kind(blocks, 4, lambda job: Content([(1, job.prompt_tokens)], job.id + 9))
    engine = Engine(Limits(4, 100, 200, blocks, 4), cache, cache=cache)
    engine.submit(new_job(0, prompt_tokens=16, output_tokens=1))
    engine.open(0.0)
    assert engine.admit(engine.waiting[0], 16)
    engine.retire(engine.advance(), 1.0)
    assert engine.free_blocks == blocks
    return engine


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixPages])
@pytest.mark.parametrize("tokens", [4, 16, 17, 40])
def test_a_job_that_comes_holds_what_is_found_of_it_and_what_is_missing(kind, tokens):
    """What is found may be more than has been computed of its prompt so far, where that is sent early."""
    engine, job = caching(kind), new_job(1, prompt_tokens=60)
    assert engine.transfers.reserve(job, tokens, sharing=True)
    assert engine.transfers.reserved[job] == 40 - engine.free_blocks == max(4, -(-tokens // 4))
    engine.transfers.cancel(job)
    assert (engine.free_blocks, engine.outstanding_tokens, engine.transfers.any) == (40, 0, False)


def test_nothing_is_kept_of_a_job_that_does_not_come_after_all():
    engine, job = caching(RadixPages), new_job(1, prompt_tokens=60)
    assert engine.transfers.reserve(job, 40, sharing=True)
    engine.transfers.cancel(job)
    assert not engine.cache._contents
    assert not engine.transfers._found_tokens


@pytest.mark.parametrize("kind", [PrefixBlocks, RadixPages])
@pytest.mark.parametrize("held_tokens", [100, 104])
def test_a_job_gets_what_another_gives_back_for_it_beside_what_is_found(kind, held_tokens):
    """It takes 15 blocks of 40, four of them as they are found; the other one leaves as many, or one less."""
    engine, job, other = caching(kind), new_job(1, prompt_tokens=60), new_job(2, prompt_tokens=104)
    assert engine.transfers.reserve(other, held_tokens)
    granted, asked = [], []

    def give_back():
        asked.append(other)
        engine.transfers.cancel(other)

    engine.transfers.request(BlockRequest(job, 60, False, lambda *got: granted.append(got), give_back))
    engine.open(2.0)
    assert granted == [(job, 16)]
    assert asked == ([other] if held_tokens == 104 else [])
    assert engine.transfers.reserved[job] == 15
    assert engine.free_blocks == 40 - 15 - (25 if held_tokens == 100 else 0)


@pytest.mark.parametrize("takes_seat", [True, False])
def test_where_nothing_can_go_on_the_last_that_has_come_starts_anew(takes_seat):
    engine = new_engine(LIMITS)
    assert not engine.transfers.restart_last_received()
    jobs = [new_job(number, prompt_tokens=20) for number in range(2)]
    for job in jobs:
        arrives(engine, job, 20, takes_seat)
    outstanding = engine.outstanding_tokens
    for left, job in zip((5, 0), reversed(jobs), strict=True):
        assert engine.transfers.restart_last_received()
        assert (job.computed, job.blocks, job.preemptions) == (0, 0, 1)
        assert job in engine.waiting
        assert engine.free_blocks == 40 - left
    assert engine.outstanding_tokens == outstanding
    assert not engine.transfers.restart_last_received()


def test_none_starts_anew_while_another_is_on_its_way():
    engine = new_engine(LIMITS)
    waits, comes = new_job(0, prompt_tokens=20), new_job(1, prompt_tokens=20)
    arrives(engine, waits, 20)
    assert engine.transfers.reserve(comes, 20)
    assert not engine.transfers.restart_last_received()
    assert waits.blocks == 5


@pytest.mark.parametrize(("seqs", "tokens"), [(1, 100), (4, 1), (2, 1)])
def test_no_more_take_a_seat_than_one_step_decodes(seqs, tokens):
    engine = new_engine(Limits(seqs, tokens, 200, 40, 4))
    jobs = [new_job(number, prompt_tokens=20) for number in range(3)]
    for job in jobs:
        arrives(engine, job, 20, takes_seat=True)
    engine.open(0.0)
    assert list(engine.running) == jobs[:1]
    assert list(engine.transfers.received) == jobs[1:]
    assert engine.pending
    engine.leave(jobs[0], RequestState.ABANDONED_BY_USER)
    engine.open(1.0)
    assert list(engine.running) == jobs[1:2]
    assert engine.pending  # one still waits for its seat


def test_one_that_is_to_leave_because_another_left_does_so_before_the_next_plan():
    engine, told = new_engine(LIMITS), []
    jobs = [new_job(number, prompt_tokens=20) for number in range(2)]
    for job in jobs:
        arrives(engine, job, 20, takes_seat=True)
    engine.open(0.0)

    def left(job, there):
        told.append((job, there))
        if job is jobs[0]:
            engine.transfers.detach(jobs[1], left)

    engine.transfers.detach(jobs[0], left)
    engine.open(1.0)
    assert (told, engine.pending, list(engine.running)) == ([(jobs[0], True)], True, jobs[1:])
    engine.open(2.0)
    assert (told[1:], engine.pending, list(engine.running)) == ([(jobs[1], True)], False, [])


@pytest.mark.parametrize("waits", ["for a seat", "in the queue", "in host memory"])
def test_a_job_that_leaves_gives_back_what_it_holds_wherever_it_waits(waits):
    engine = new_engine(Limits(1, 100, 200, 40, 4, num_cpu_blocks=9))
    first, job = (new_job(number, prompt_tokens=20) for number in range(2))
    if waits == "in host memory":
        arrives(engine, job, 20, takes_seat=True)
        engine.open(0.0)
        assert engine.swap_out(job)
        engine.retire(engine.advance(), 0.5)
        assert engine.free_cpu_blocks == 4
    arrives(engine, first, 20, takes_seat=True)
    if waits != "in host memory":
        arrives(engine, job, 20, takes_seat=waits == "for a seat")
    engine.open(1.0)
    assert list(engine.running) == [first]
    engine.leave(job, RequestState.ABANDONED_BY_USER)
    engine.open(2.0)
    assert (engine.free_blocks, engine.free_cpu_blocks) == (35, 9)
    assert engine.outstanding_tokens == first.known_tokens
    assert not any((engine.waiting, engine.swapped, engine.transfers.received))
    assert engine.records.ended == [1, RequestState.ABANDONED_BY_USER, 2.0]
