"""Verbs of the ledger one by one: what is refused changes nothing, what is given up is free again."""

import pytest

from policies.acceptance.rate import Rate
from simulator.replica.adaptive_engine import AdaptiveEngine
from simulator.replica.content import Content
from simulator.replica.cost import StepShape
from simulator.replica.engine import Engine
from simulator.replica.job import JobState
from simulator.replica.kv import CountedBlocks
from simulator.replica.limits import Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.radix_pages import RadixPages
from simulator.replica.request import RequestState
from simulator.replica.speculation import Speculation
from simulator.replica.speculative_engine import SpeculativeEngine
from simulator.replica.transfers import BlockRequest
from simulator.testing import new_engine, new_job
from tests.compiled import SHAPE

LIMITS = Limits(4, 100, 200, 40, 4)


def caching():
    """An engine that keeps prefixes; its requests are all alike as far as they go."""
    blocks = PrefixBlocks(LIMITS.num_gpu_blocks, 4, lambda job: Content([(1, job.prompt_tokens)], job.id + 9))
    return Engine(LIMITS, blocks, cache=blocks)


def drafting(drafts=3, plans_ahead=False, kind=SpeculativeEngine, price=None, **jobs):
    """An engine whose drafts are all right, and jobs that have computed their prompts of eight; a step follows."""
    blocks = CountedBlocks(LIMITS.num_gpu_blocks, 4)
    engine = kind(LIMITS, blocks, plans_ahead=plans_ahead, price=price)
    engine.speculate(Speculation(Rate(1.0), drafts))
    return prompts_computed(engine, **jobs)


def prompts_computed(engine, outputs=(20, 20)):
    jobs = [new_job(number, prompt_tokens=8, output_tokens=tokens) for number, tokens in enumerate(outputs)]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    for job in jobs:
        assert engine.admit(job, 8)
    completing = engine.advance()
    return engine, jobs, completing


def arrives(engine, job, tokens, takes_seat=False):
    """A job comes with the KV of so many tokens and waits, in the queue or for the next seat."""
    job.generated, job.computed = 1, tokens
    job.move(JobState.WAITING)
    job.move(JobState.RUNNING)
    job.move(JobState.SENDING)
    assert engine.transfers.reserve(job, tokens)
    engine.transfers.receive(job, takes_seat=takes_seat)


# Refused


@pytest.mark.parametrize("tokens", [0, 9])
def test_what_makes_no_sense_gives_nothing_of_the_cache_away(tokens):
    engine = caching()
    job = new_job(0, prompt_tokens=8)
    engine.submit(job)
    engine.open(0.0)
    with pytest.raises(ValueError, match=f"cannot schedule {tokens} tokens of"):
        engine.admit(job, tokens)
    assert engine.admit(job, 8)
    assert (job.blocks, engine.free_blocks) == (2, LIMITS.num_gpu_blocks - 2)
    assert engine.records.looked_up_tokens == 8


@pytest.mark.parametrize("late", [False, True])
def test_blocks_of_a_prefix_cache_are_not_swapped(late):
    """Those that come back would be known to none."""
    engine = new_engine(LIMITS, late_cache=lambda _: None) if late else caching()
    engine.submit(job := new_job(0, prompt_tokens=8))
    engine.open(0.0)
    assert engine.admit(job, 8)
    engine.retire(engine.advance(), 1.0)
    engine.open(1.0)
    with pytest.raises(ValueError, match="belong to a prefix cache"):
        engine.swap_out(job)
    assert engine.decode_all()


def test_where_decodes_lack_blocks_what_nobody_uses_goes_from_the_tree():
    """Two of them open one each, and one is free, which holds what was served before."""
    pages = RadixPages(33, 1, lambda job: Content([(job.id + 1, job.prompt_tokens)], job.id + 9))
    engine = Engine(Limits(4, 100, 200, 33, 1), pages, cache=pages)
    for number, prompt, tokens in ((0, 1, 1), (1, 16, 9), (2, 16, 9)):
        engine.submit(new_job(number, prompt_tokens=prompt, output_tokens=tokens))
        engine.open(float(number))
        assert engine.admit(engine.waiting[0], prompt)
        engine.retire(engine.advance(), number + 1.0)
    engine.open(3.0)
    assert (engine.blocks_opening, engine.free_blocks, pages.tree.evictable) == (2, 1, 1)
    again = new_job(0, prompt_tokens=2)
    assert engine.cached_tokens(again) == 1
    assert not engine.decode_all()
    assert (engine.cached_tokens(again), pages.tree.evictable) == (0, 0)


# Padding


def test_padding_is_computed_as_said_within_the_budget():
    engine = new_engine(LIMITS)
    job = new_job(0, prompt_tokens=8)
    engine.submit(job)
    engine.open(0.0)
    assert engine.admit(job, 8)
    shape = engine.shape
    before = {name: getattr(shape, name) for name in SHAPE}
    padding = {
        "prefill_tokens": 50, "prefill_attention_pairs": 600.0, "prefill_context_tokens": 70, "decode_seqs": 30,
        "decode_context_tokens": 900,
    }  # fmt: skip
    assert engine.pad(StepShape(**padding))
    assert engine.token_budget == 100 - 8 - 80
    added = {name: getattr(shape, name) - before[name] for name in SHAPE}
    assert {name: number for name, number in added.items() if number} == padding
    assert not engine.pad(StepShape(decode_seqs=13))
    assert engine.pad(StepShape(decode_seqs=12))
    assert engine.token_budget == 0


def test_a_step_without_a_prompt_pads_none():
    engine, _, _ = prompts_computed(new_engine(LIMITS))
    engine.open(1.0)
    assert engine.decode_all()
    with pytest.raises(ValueError, match="padding of prompts without a prompt in the step"):
        engine.pad(StepShape(prefill_tokens=1))
    assert engine.pad(StepShape(decode_seqs=1))
    assert engine.token_budget == 97


# Given up


def test_a_job_that_has_come_with_its_kv_and_can_never_be_served_frees_it():
    engine = new_engine(LIMITS)
    job = new_job(0, prompt_tokens=20)
    arrives(engine, job, 20)
    assert engine.free_blocks == LIMITS.num_gpu_blocks - 5
    engine.open(0.0)
    engine.fail(job)
    assert (engine.free_blocks, job.blocks, engine.outstanding_tokens) == (LIMITS.num_gpu_blocks, 0, 0)
    assert engine.records.ended[:2] == [0, RequestState.FAILED]


def test_a_job_that_has_given_its_blocks_back_holds_none():
    blocks, job = CountedBlocks(40, 4), new_job(0)
    blocks.take(job, 3)
    blocks.release(job)
    assert (blocks.free_blocks, job.blocks) == (40, 0)


# Drafts


@pytest.mark.parametrize("place", [0, 1])
def test_a_job_preempted_after_it_was_scheduled_takes_its_drafts_along(place):
    engine, jobs, _ = drafting()
    engine.retire((), 1.0)
    engine.open(1.0)
    assert engine.decode_all()
    engine.preempt(jobs[place])
    shape = engine.shape
    assert (shape.decode_seqs, shape.decode_context_tokens, shape.draft_tokens) == (1, 9, 3)
    assert engine.token_budget == 100 - 4
    assert engine.free_blocks == LIMITS.num_gpu_blocks - jobs[1 - place].blocks
    engine.advance()
    assert [job.generated for job in jobs] == [1 if job is jobs[place] else 5 for job in jobs]


def test_one_that_the_budget_left_out_has_nothing_to_take_along():
    engine, jobs, _ = drafting(drafts=98)
    engine.retire((), 1.0)
    engine.open(1.0)
    engine.token_budget = 4
    jobs[0].reserved = jobs[1].reserved = True
    assert engine.decode_all()  # the first one has three drafts and leaves nothing
    assert [drafted[0] for drafted in engine._decoding] == jobs[:1]
    engine.preempt(jobs[1])
    assert (engine.token_budget, engine.shape.decode_seqs, engine.shape.draft_tokens) == (0, 1, 3)


@pytest.mark.parametrize(
    "made", [drafting, lambda **_: prompts_computed(new_engine(LIMITS), outputs=(5, 20))]
)
def test_decodes_that_are_refused_with_a_token_beyond_the_end_change_nothing(made):
    """The last token of the first one is in flight, so that with the next step one too many is computed of it."""
    engine, jobs, _ = made(plans_ahead=True, outputs=(5, 20))
    while not jobs[0].completing:
        engine.open(float(engine.step))
        assert engine.decode_all()
        engine.advance()
    engine.open(9.0)
    engine.kv.free_blocks = 0
    assert not engine.decode_all(beyond=True)
    assert (engine.token_budget, engine.free_blocks, engine.too_many_blocks) == (100, 0, 0)
    assert (engine.shape.decode_seqs, engine.shape.draft_tokens, engine.ticks) == (0, 0, False)


def test_tokens_in_flight_are_those_of_the_step_that_has_not_ended():
    engine, jobs, _ = drafting(plans_ahead=True)
    assert all(engine.token_in_flight(job) for job in jobs)
    engine.open(1.0)
    assert engine.decode_all()
    engine.advance()
    engine.retire((), 1.0)
    assert all(engine.token_in_flight(job) for job in jobs)
    engine.retire((), 2.0)
    assert not any(engine.token_in_flight(job) for job in jobs)


@pytest.mark.parametrize(("outputs", "tokens"), [((20, 20), 4), ((3, 20), 2)])
def test_tokens_in_flight_that_are_lost_are_all_taken_back(outputs, tokens):
    """The first one gets all its drafts, or what is left of its answer; the record has nothing of it any more."""
    engine, jobs, _ = drafting(plans_ahead=True, outputs=outputs)
    engine.open(1.0)
    assert engine.decode_all()
    engine.advance()
    engine.retire((), 1.0)
    assert jobs[0].generated == 1 + tokens
    engine.open(2.0)
    engine.preempt(jobs[0], keeps_token=False)
    assert [job.generated for job in jobs] == [1, 5]
    assert engine.records.rows("drafts")[0].tolist() == [1]
    assert engine.outstanding_tokens == sum(job.known_tokens for job in jobs)


def test_drafts_that_were_not_verified_are_forgotten_with_the_tokens_that_are_lost():
    """Drafts are so dear that none is verified."""
    engine, jobs, _ = drafting(
        plans_ahead=True, kind=AdaptiveEngine, price=lambda shape: 1 + shape.draft_tokens
    )
    engine.open(1.0)
    assert engine.decode_all()
    engine.trim_drafts()
    engine.advance()
    engine.retire((), 1.0)
    assert engine.records.rows("trimmed").T.tolist() == [[0, 1, 3], [1, 1, 3]]
    engine.open(2.0)
    engine.preempt(jobs[0], keeps_token=False)
    assert engine.records.rows("trimmed").T.tolist() == [[1, 1, 3]]
    assert [job.generated for job in jobs] == [1, 2]


@pytest.mark.parametrize("beyond", [False, True])
def test_a_token_beyond_the_end_is_computed_only_if_asked_for(beyond):
    engine, _, completing = drafting(plans_ahead=True, outputs=(1, 20))
    assert len(completing) == 1
    engine.open(1.0)
    assert engine.decode_all(beyond) if beyond else engine.decode_all()
    assert (engine.shape.decode_seqs, engine.too_many_blocks) == (1 + beyond, int(beyond))


# Requests for blocks


def test_blocks_are_granted_before_a_plan_only_if_nobody_takes_a_seat_or_gives_one_back():
    engine, granted = new_engine(Limits(1, 100, 200, 40, 4)), []
    coming, seated = new_job(0, prompt_tokens=20), new_job(1, prompt_tokens=20)
    arrives(engine, seated, 20, takes_seat=True)
    engine.transfers.request(BlockRequest(coming, 20, False, lambda job, found: granted.append(job)))
    engine.settle_requests()
    assert not granted
    engine.open(0.0)
    assert (list(engine.running), granted) == ([seated], [])  # whose seat it is


def test_no_job_is_preempted_for_one_that_comes_until_a_step_is_planned():
    engine, jobs, _ = prompts_computed(new_engine(Limits(4, 100, 200, 6, 4)))
    coming = new_job(2, prompt_tokens=12)
    engine.transfers.request(BlockRequest(coming, 12, True, lambda job, found: None))
    engine.settle_requests()
    assert list(engine.running) == jobs
    engine.open(1.0)
    assert list(engine.running) == jobs[:1]


@pytest.mark.parametrize(("in_flight", "generated"), [(0, 5), (1, 1)])
def test_a_crash_takes_the_drafts_of_the_steps_that_have_not_ended(in_flight, generated):
    engine, jobs, _ = drafting()
    engine.retire((), 1.0)
    engine.open(1.0)
    assert engine.decode_all()
    completing = engine.advance()
    if not in_flight:
        engine.retire(completing, 2.0)
    assert engine.crash(2.0, 0, in_flight) == jobs
    assert [(job.generated, job.computed) for job in jobs] == [(generated, 0)] * 2
