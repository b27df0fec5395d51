"""Runs of KV blocks, verb by verb: they equal single blocks after each, and are few."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.replica.content import Content
from simulator.replica.prefix_blocks import PrefixBlocks
from tests.compiled import interpreted_only
from tests.plain_prefix_blocks import PlainPrefixBlocks, kept

pytestmark = interpreted_only

SIZE = 4


@dataclass(eq=False)
class Asker:
    """What a cache sees of a job."""

    segments: list
    output_stream: int
    known_tokens: int
    blocks: int = 0
    computed: int = 0
    generated: int = 0
    preemptions: int = 0


def asker(segments, output_stream=-1, generated=0):
    return Asker(
        segments, output_stream, sum(tokens for _, tokens in segments) + generated, generated=generated
    )


def cache(kind=PrefixBlocks, blocks=1000, running=(), **options):
    made = kind(blocks, SIZE, lambda job: Content(job.segments, job.output_stream), **options)
    made.watch(running, (), made.group_type(SIZE, []))
    return made


def admit(made, job, computed=None):
    """Let a job in and compute it, or so many of its tokens."""
    found = made.begin(job)
    tokens = job.known_tokens if computed is None else computed
    made.take(job, max(0, -(-tokens // SIZE) - job.blocks))
    made.chunk(job, found, tokens - found)
    return found


MOVES = ("admit", "admit", "admit", "compute", "compute", "fill", "gap", "release", "release", "step")


def some_segments(rng):
    lengths = 1, 3, 4, 8, 9, 16, 25
    return [(rng.choice([0, 0, 0, 1, 2]), rng.choice(lengths)) for _ in range(rng.randint(1, 4))]


@given(st.integers(0, 2**32), st.sampled_from([12, 30, 60]), st.booleans(), st.booleans())
def test_every_move_does_what_it_does_to_single_blocks(seed, blocks, deferred, partial_first):
    rng = random.Random(seed)
    running = {}
    caches = [
        cache(kind, blocks, running, deferred=deferred, partial_first=partial_first)
        for kind in (PrefixBlocks, PlainPrefixBlocks)
    ]
    gone = []  # released, and may come back

    def both(move, job, *arguments):
        """Do it to both caches, to which the job is as it was before, and compare."""
        before = job and (job.blocks, job.computed)
        found = []
        for each in caches:
            if job:
                job.blocks, job.computed = before
            found.append(
                (getattr(each, move)(*([job] if job else []), *arguments), each.free_blocks, kept(each))
            )
        assert found[0] == found[1]
        return found[0][0]

    both("step_planned", None, ())
    for _ in range(60):
        move, number = rng.choice(MOVES), rng.randrange(100)
        if move == "admit":
            job = (
                gone.pop() if gone and number % 3 == 0 else asker(some_segments(rng), number % 4, number % 9)
            )
            both("cached_tokens", job)
            if both("blocks_to_admit", job, job.known_tokens) <= caches[0].free_blocks:
                found = both("begin", job)
                both("take", job, -(-job.known_tokens // SIZE) - job.blocks)
                running[job] = None
                job.computed = found
        elif move == "step":
            both("step_planned", None, ())
            both("step_ended", None, ())
        elif running:
            job = list(running)[number % len(running)]
            left = job.known_tokens - job.computed
            if move == "release":
                del running[job]
                both("release", job)
                job.computed, job.preemptions = 0, job.preemptions + 1
                gone.append(job)
            elif move == "gap":  # what came with its KV is registered at once, also around what is
                tokens = number % (job.known_tokens + 1)
                job.computed = max(job.computed, tokens)
                both("chunk", job, tokens // 2, tokens - tokens // 2)
                if number % 2:
                    both("seated", job)
            elif left:
                tokens = 1 if move == "fill" else 1 + number % left
                both("chunk", job, job.computed, tokens)
                job.computed += tokens
    for job in list(running):
        both("release", job)
    stretches = set(caches[0]._stretches._known.values())
    assert all(each.runs or any(other.name[0] is each for other in stretches) for each in stretches)
    assert sum(run.end - run.first for run in caches[0]._free.in_order()) == blocks


@pytest.mark.parametrize("partial_first", [False, True])
def test_a_prompt_is_a_few_runs_however_long_it_is(partial_first):
    made = cache(partial_first=partial_first)
    first, second = asker([(1, 2000)]), asker([(1, 2000)])
    assert admit(made, first, 1000) == 0
    made.chunk(first, 1000, 1000)
    assert admit(made, second) == 1996  # all but the block of its last token
    made.release(first)
    made.release(second)
    runs = [(run.first, run.end) for run in made._free.in_order() if run.stretch]
    assert runs == [(499, 500), (499, 500), (0, 499)]  # the last block is there twice


def test_a_run_that_was_shared_in_part_is_whole_again_when_both_parts_are_freed():
    made = cache()
    long, short = asker([(1, 400)]), asker([(1, 200), (2, 50)])
    admit(made, long)
    assert admit(made, short) == 200
    made.release(short)
    assert len(made._stretches.find((None, 0, 1)).runs) == 2
    made.release(long)
    assert [(run.first, run.end) for run in made._free.in_order()][-1] == (0, 100)


def test_stretches_are_forgotten_with_their_blocks():
    made = cache(blocks=100)
    for stream in range(200):
        job = asker([(0, 40), (stream + 1, 40), (-2 - stream, 40)])
        assert admit(made, job) == (40 if stream else 0)
        made.release(job)
    assert len(made._stretches) < 15


def test_what_is_left_free_on_both_sides_of_a_hit_is_used_last_block_first():
    made = cache(blocks=20)
    one, two, other = asker([(1, 40)]), asker([(1, 40)]), asker([(2, 28)])
    for job in (one, two):
        made.begin(job)
        made.take(job, 10)
    for job in (one, two):
        made.chunk(job, 0, 40)
    made.release(one)
    admit(made, other)  # uses seven of its blocks
    made.release(two)
    assert made.begin(asker([(1, 28), (3, 9)])) == 28  # three blocks of the first, four of the second
    assert [(run.first, run.end) for run in made._free.in_order()] == [(7, 10), (0, 3)]
