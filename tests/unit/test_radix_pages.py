"""How much room a step makes in the radix tree, page by page."""

import random
from types import SimpleNamespace

import pytest

from policies.acceptance.rate import Rate
from simulator.replica.content import Content
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.late_radix_pages import LateRadixPages
from simulator.replica.limits import Limits
from simulator.replica.radix_pages import RadixPages
from simulator.replica.speculation import Speculation
from simulator.replica.speculative_engine import SpeculativeEngine
from simulator.testing import new_job
from tests.compiled import interpreted_only


@pytest.mark.parametrize(("page", "most"), [(1, 8), (4, 4)])
@pytest.mark.parametrize("more", [0, 1])
def test_prompts_make_room_for_their_tokens_and_with_longer_pages_for_a_page_more(page, most, more):
    """Beside sixteen tokens that were left in the tree there is room for eight."""
    pages = RadixPages(24 // page, page, lambda job: Content(((job.id, 16),), 100 + job.id))
    gone, job = new_job(0, prompt_tokens=16), new_job(1, prompt_tokens=most + more)
    running = {gone: None, job: None}
    pages.watch(running, {}, DecodeGroup(page, []))
    for each in (gone, job):
        pages.begin(each)
        pages.take(each, -(-each.prompt_tokens // page))
        each.computed = each.prompt_tokens
        pages.chunk(each, 0, each.prompt_tokens)
        if each is gone:
            pages.seated(each)
        pages.step_planned((each,))
        if each is gone:
            del running[each]
            pages.release(each)
    assert pages.tree.tokens == (0 if more else 16)


@pytest.mark.parametrize("page", [1, 4])
def test_where_decodes_lack_a_page_all_that_is_evictable_goes(page):
    """Three pages are free, with a leaf in each, and four are asked for."""
    pages = RadixPages(3, page, lambda job: Content(((job.id, 16),), 100 + job.id))
    for stream in range(3):
        pages.tree.insert(((stream, page),))
    pages.decode_refused(4)
    assert (pages.free_blocks, pages.tree.evictable) == (3, 0)


@pytest.mark.parametrize("computing", [False, True])
@pytest.mark.parametrize("empty", range(5))
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_that_are_run_at_once_make_the_room_of_steps_one_by_one(empty, steps, computing):
    """Two decode, which open a page each fourth token, one after the other; six pages are left in the tree.

    The prompt of one of them may be in flight, and is stored when the first of these steps has been planned.
    """

    def kept(at_once):
        pages, group = (
            RadixPages(8 + empty, 4, lambda job: Content(((job.id, 16),), 100 + job.id)),
            DecodeGroup(4, []),
        )
        for stream in range(6):
            pages.tree.insert(((10 + stream, 4),))
        jobs = [new_job(number, prompt_tokens=8 - number, output_tokens=20) for number in range(2)]
        running = dict.fromkeys(jobs)
        pages.watch(running, {}, group)
        for job in jobs:
            job.computed, job.generated = job.prompt_tokens, 1
            if job is jobs[0]:
                pages.begin(job)
                pages.take(job, 2)
                job.computed = job.prompt_tokens
            group.join(job)
        pages.step_planned(jobs[:1] if computing else ())
        assert pages.can_fast_forward
        opened = [group.openers[tick % 4] for tick in range(steps)]
        if at_once:
            pages.free_blocks -= sum(opened)
            pages.fast_forwarded(0, steps, sum(opened), len(jobs))
        else:
            for nth, blocks in enumerate(opened):
                if nth:
                    pages.step_ended(())
                pages.free_blocks -= blocks
                pages.decoding(blocks, len(jobs))
                pages.step_planned(())
        pages.step_ended(())
        pages.step_ended(())
        return pages.tree.tokens, pages.tree.uses, pages.free_blocks

    assert kept(at_once=True) == kept(at_once=False)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_steps_are_planned_until_a_prompt_is_stored_of_which_the_tree_will_have_more_by_then(alike, stored):
    """What two requests compute of the same text is kept once, and the pages of one of them are free again."""
    pages = RadixPages(20, 4, lambda job: Content(((0 if alike else job.id, 8),), 100 + job.id))
    jobs = [new_job(number, prompt_tokens=8, output_tokens=20) for number in range(2)]
    pages.watch(dict.fromkeys(jobs), {}, DecodeGroup(4, []))
    for job in jobs:
        pages.begin(job)
        pages.take(job, 2)
        job.computed, job.generated = 8, 1
    if stored:
        pages.step_planned(jobs[:1])
        pages.step_ended(())
    pages.step_planned(jobs[stored:])
    assert pages.can_fast_forward is not alike
    free = pages.free_blocks
    pages.step_ended(())
    assert pages.free_blocks == free + 2 * alike


@pytest.mark.parametrize("seed", range(20))
@interpreted_only
def test_a_tree_that_is_built_late_holds_and_evicts_what_one_from_the_start_does(seed):
    def played(kind):
        rng, gone = random.Random(seed), []
        pages = kind(60, 4, lambda job: Content((), -1 - job.id))
        running = {new_job(n, prompt_tokens=20, output_tokens=20): None for n in range(8)}
        pages.watch(running, {}, DecodeGroup(4, []))
        for job in running:
            if job.id % 2:  # the others come from elsewhere
                pages.begin(job)
            pages.take(job, 7)
        for _ in range(30):
            job = rng.choice([*running])
            job.computed = min(job.computed + rng.randint(0, 9), 28)
            pages.seated(job)
            if rng.random() < 0.3 and len(running) > 2:
                del running[job]
                pages.release(job)
            if rng.random() < 0.2:
                pages.decode_refused(pages.free_blocks - pages.tree.evictable // 4 + 1)
        engine = SimpleNamespace(cache=pages)
        if kind is LateRadixPages:
            pages.begin_in(engine)
        pages = engine.cache
        left = pages.tree.evictable
        pages.tree.told = lambda pieces, start, stop: gone.append((pieces[-1][0], start, stop))
        for job in running:
            pages.release(job)
        pages.tree.evict(1000)
        return left, gone, pages.free_blocks

    assert played(LateRadixPages) == played(RadixPages)


def test_where_decodes_with_drafts_lack_a_page_it_goes_too():
    pages = RadixPages(9, 1, lambda job: Content(((job.id, 16),), 100 + job.id))
    engine = SpeculativeEngine(Limits(4, 100, 200, 9, 1), pages, cache=pages)
    engine.speculate(Speculation(Rate(1.0), 3))
    engine.submit(job := new_job(1, prompt_tokens=6, output_tokens=9))
    engine.open(0.0)
    assert engine.admit(job, 6)
    engine.retire(engine.advance(), 1.0)
    pages.tree.insert(((7, 3),))  # three pages are free, and four wanted
    engine.open(1.0)
    assert not engine.decode_all()
    assert (pages.free_blocks, pages.tree.evictable) == (3, 0)
