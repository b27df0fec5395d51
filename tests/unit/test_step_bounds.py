"""What just fits is served, and what is one block more is not: admission, swapping and preemption; and the queue."""

import pytest

from simulator.replica.content import Content
from simulator.replica.cost import StepShape
from simulator.replica.engine import Engine
from simulator.replica.job import JobState
from simulator.replica.limits import FixedKv, Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.request import RequestState
from simulator.replica.shortage import cause
from simulator.testing import new_engine, new_job
from tests.compiled import SHAPE


def begun(engine, *prompts, output=30):
    """Jobs of an engine whose prompts have been computed in the step before."""
    jobs = [
        new_job(number, prompt_tokens=tokens, output_tokens=output) for number, tokens in enumerate(prompts)
    ]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    for job in jobs:
        assert engine.admit(job, job.prompt_tokens)
    engine.retire(engine.advance(), 1.0)
    engine.open(1.0)
    return jobs


def state(engine):
    return engine.free_blocks, engine.free_cpu_blocks, engine.token_budget, list(engine.swapped)


@pytest.mark.parametrize(("blocks", "fits"), [(8, False), (9, True), (10, True)])
@pytest.mark.parametrize("fixed", [None, FixedKv(2.0)])
def test_a_job_is_swapped_in_where_its_blocks_are_free(blocks, fits, fixed):
    """It has five, and the other one four; each holds two more while it runs if the model needs them."""
    held = 0 if fixed is None else 2
    engine = new_engine(Limits(4, 100, 200, blocks + 2 * held, 4, num_cpu_blocks=5, fixed_kv=fixed))
    (job,) = begun(engine, 18)
    assert engine.swap_out(job)
    assert state(engine) == (engine.total_blocks, 0, 100, [job])
    other = new_job(1, prompt_tokens=16)
    engine.submit(other)
    assert engine.admit(other, 16)
    before = state(engine)
    assert engine.swap_in(job, 1) == fits
    if fits:
        assert state(engine) == (blocks - 9, 5, 100 - 17, [])
        assert (job.blocks, job.state) == (5, JobState.RUNNING)
    else:
        assert state(engine) == before


@pytest.mark.parametrize(("blocks", "fits"), [(15, False), (16, True)])
def test_a_job_that_has_set_all_its_blocks_aside_comes_back_with_all_of_them(blocks, fits):
    """Twelve, for 18 tokens of the prompt and 30 more; the other one has four."""
    engine = new_engine(Limits(4, 100, 200, blocks, 4, num_cpu_blocks=20))
    job, other = new_job(0, prompt_tokens=18, output_tokens=30), new_job(1, prompt_tokens=16)
    engine.submit(job)
    engine.open(0.0)
    assert engine.admit(job, 18, 48)
    engine.retire(engine.advance(), 1.0)
    engine.open(1.0)
    assert engine.swap_out(job)
    engine.submit(other)
    assert engine.admit(other, 16)
    before = state(engine)
    assert engine.swap_in(job, 1) == fits
    assert state(engine) == ((0, 20, 83, []) if fits else before)


@pytest.mark.parametrize("seats", [1, 2])
def test_a_job_is_swapped_in_only_where_a_seat_is_free(seats):
    engine = new_engine(Limits(seats, 100, 200, 20, 4, num_cpu_blocks=20))
    (job,) = begun(engine, 18)
    assert engine.swap_out(job)
    other = new_job(1, prompt_tokens=16)
    engine.submit(other)
    assert engine.admit(other, 16)
    assert engine.swap_in(job, 1) == (seats == 2)
    assert list(engine.swapped) == ([] if seats == 2 else [job])


def test_a_job_stays_on_the_gpu_if_the_host_lacks_a_block():
    for cpu_blocks in (4, 5):
        engine = new_engine(Limits(4, 100, 200, 10, 4, num_cpu_blocks=cpu_blocks))
        (job,) = begun(engine, 18)
        assert engine.swap_out(job) == (cpu_blocks == 5)


@pytest.mark.parametrize("prompt", [17, 18, 19, 20])
def test_a_preempted_job_fails_if_it_has_outgrown_the_cache(prompt):
    """Five blocks of four: with its first token it has 21 tokens at most."""
    engine = new_engine(Limits(4, 100, 200, 5, 4))
    (job,) = begun(engine, prompt)
    engine.preempt(job)
    failed = prompt == 20
    assert job.state is (JobState.ENDED if failed else JobState.WAITING)
    assert engine.records.ended[:2] == ([0, RequestState.FAILED] if failed else [])
    assert list(engine.waiting) == ([] if failed else [job])


@pytest.mark.parametrize(
    ("prompt", "budget", "fits"), [(20, 100, True), (21, 100, False), (20, 20, True), (20, 19, False)]
)
def test_with_a_prefix_cache_a_chunk_is_admitted_into_the_last_block_with_the_last_token(
    prompt, budget, fits
):
    cache = PrefixBlocks(5, 4, lambda job: Content([(job.id, job.prompt_tokens)], job.id + 9))
    engine = Engine(Limits(4, budget, 200, 5, 4), cache, cache=cache)
    job = new_job(1, prompt_tokens=prompt)
    engine.submit(job)
    engine.open(0.0)
    assert engine.admit(job, prompt) == fits
    assert engine.free_blocks == (0 if fits else 5)


@pytest.mark.parametrize("key", [None, lambda job: job.priority])
def test_a_job_moved_to_the_head_comes_before_its_equals(key):
    engine = new_engine(Limits(4, 100, 200, 50, 4), queue_key=key)
    jobs = [new_job(number, priority=1) for number in range(3)]
    urgent = new_job(3, priority=0)
    for job in (*jobs, urgent):
        engine.submit(job)
    engine.move_to_head(jobs[1])
    first = [jobs[1], jobs[0], jobs[2]]
    assert list(engine.waiting) == ([*first, urgent] if key is None else [urgent, *first])


@pytest.mark.parametrize(("budget", "lacks"), [(32, (-1, 0)), (33, (1, 1))])
def test_whom_the_tokens_of_a_step_do_not_reach_lacks_no_block(budget, lacks):
    """The first takes 32 tokens and the eight blocks that are free; a token more, and the other wants a block."""
    engine = new_engine(Limits(4, budget, 200, 10, 4))
    jobs = [new_job(number, prompt_tokens=tokens) for number, tokens in enumerate((36, 40))]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    for job in jobs:
        assert engine.admit(job, 4)
    engine.retire(engine.advance(), 1.0)
    engine.open(1.0)
    assert engine.free_blocks == 8
    assert cause(engine, None) == lacks


def test_a_plan_begins_with_nothing_of_the_one_before():
    """Which swapped a job out and computed a prompt, or swapped it in again beside decodes."""
    engine = new_engine(Limits(4, 100, 200, 40, 4, num_cpu_blocks=20))
    first, _ = begun(engine, 18, 10)
    new = [getattr(StepShape(), name) for name in SHAPE]
    for verb in (engine.swap_out, lambda job: engine.swap_in(job, 1)):
        engine.submit(other := new_job(2 + engine.step, prompt_tokens=16))
        assert verb(first)
        assert engine.decode_all()
        assert engine.admit(other, 16)
        assert [getattr(engine.shape, name) for name in SHAPE] != new
        engine.retire(engine.advance(), 2.0)
        engine.open(2.0)
        assert [getattr(engine.shape, name) for name in SHAPE] == new
        assert not engine.preempted


def preempt_in_flight(engine, job):
    """Preempt a submitted job in the step after the one that computes its prompt, which ends then."""
    engine.open(0.0)
    assert engine.admit(job, job.prompt_tokens)
    completing = engine.advance()
    engine.open(0.5)
    engine.preempt(job)
    engine.retire(completing, 1.0)


def test_a_job_preempted_with_its_last_token_in_flight_waits_for_nothing_once_that_is_there():
    engine = new_engine(Limits(4, 100, 200, 40, 4))
    engine.submit(job := new_job(0, prompt_tokens=18, output_tokens=1))
    preempt_in_flight(engine, job)
    assert (job.state, list(engine.waiting)) == (JobState.ENDED, [])
    assert engine.free_blocks == engine.total_blocks


@pytest.mark.parametrize("withholds", [False, True])
def test_a_job_preempted_while_what_is_to_be_handed_over_is_in_flight_is_computed_again(withholds):
    """Its first token is lost with its KV if it is given elsewhere; else it is there, and one more is computed here."""
    done = []
    engine = new_engine(Limits(4, 100, 200, 40, 4), withholds=withholds, on_prompt_done=done.append)
    engine.submit(job := new_job(0, prompt_tokens=18, output_tokens=5))
    job.target_tokens = 1
    preempt_in_flight(engine, job)
    there = 0 if withholds else 1
    assert (job.state, job.generated, job.target_tokens) == (JobState.WAITING, there, there + 1)
    assert engine.outstanding_tokens == 18 + there
    engine.open(1.0)
    assert engine.admit(job, 18 + there)
    engine.retire(engine.advance(), 2.0)
    assert done == [job]
    assert (job.state, job.generated) == (JobState.SENDING, 0 if withholds else 2)
    assert engine.transfers.sending == {job: 5}
