"""What answers fill, written down when they are looked at, is what single blocks have at each step."""

import random

from hypothesis import given
from hypothesis import strategies as st

from simulator.replica.content import Content
from simulator.replica.job import Job
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.request import Request
from tests.plain_prefix_blocks import PlainPrefixBlocks, kept

SIZE = 4


def decodes(kind, seed, blocks, deferred, pipelined):
    """Let requests decode, go on from one another meanwhile, leave and come back; return what was to be seen."""
    rng, running, gone, asked, streams, seen = random.Random(seed), {}, [], [], [], []
    made = kind(blocks, SIZE, lambda job: Content(job.prompt_segments, streams[job.id]), deferred=deferred)
    group = made.group_type(SIZE, [])
    made.watch(running, (), group)
    if pipelined:
        made.step_planned(())

    def new():
        """A request: another one again, or its prompt goes on from another's answer so far or to come, or is new."""
        begin = ((rng.choice([0, 9]), rng.randrange(9)),)
        if asked and rng.random() < 0.6:
            other = rng.choice(asked)
            begin = (*other.prompt_segments, (streams[other.id], rng.randrange(12)))
        own = -1 - len(asked)
        segments = (*begin, (own, rng.randrange(9))) if rng.random() < 0.8 else begin
        segments = tuple(each for each in segments if each[1]) or ((0, 3),)
        if asked and rng.random() < 0.2:
            own, segments = streams[other_id := rng.randrange(len(asked))], asked[other_id].prompt_segments
        streams.append(own)
        request = Request(len(asked), 0.0, sum(tokens for _, tokens in segments), 99)
        job = Job(request, request.row, 0.0, 99, 99)
        job.prompt_segments = segments
        asked.append(job)
        return job

    def admit(job):
        known = job.known_tokens
        if made.blocks_to_admit(job, known) <= made.free_blocks:
            first = made.begin(job)
            made.take(job, -(-known // SIZE) - job.blocks)
            made.chunk(job, first, known - first)
            job.computed, job.generated, job.admission = known, job.generated + 1, len(seen)
            running[job] = None
            group.join(job)

    for _ in range(50):
        move = rng.choice(["admit", "admit", "look", "run", "run", "plan", "complete", "preempt", "back"])
        steps = 1 if move == "plan" else rng.randint(1, 11)
        if move == "admit":
            admit(new())
        elif move == "look":
            seen.append(made.cached_tokens(new()))
        elif move == "back" and gone:
            admit(gone.pop())
        elif move in ("run", "plan") and running:
            taken = sum(group.openers[(group.tick + nth) % SIZE] for nth in range(steps))
            if taken <= made.free_blocks:
                made.free_blocks -= taken
                if move == "run":
                    made.fast_forwarded(group.tick, steps, taken, len(running))
                    group.tick += steps
                else:
                    made.decoding(taken, len(running))
                    if rng.random() < 0.3:
                        seen.append(made.cached_tokens(new()))
                    group.tick += 1
                    made.step_planned(())
                    made.step_ended(())
        elif move in ("complete", "preempt") and running:
            job = rng.choice(list(running))
            group.leave(job)
            if move == "complete" and pipelined:  # with the last step
                made.step_planned(())
                made.step_ended(())
            del running[job]
            made.release(job)
            job.preemptions += 1
            gone += [job] if move == "preempt" else []
        seen.append(
            (made.free_blocks, [made.cached_tokens(each) for each in asked[-3:] if each.group is None])
        )
    for job in list(running):
        group.leave(job)
        made.release(job)
    return seen, kept(made)


@given(st.integers(0, 2**32), st.sampled_from([20, 60, 400]), st.booleans(), st.booleans())
def test_answers_fill_the_blocks_that_single_blocks_fill(seed, blocks, deferred, pipelined):
    plain, runs = (
        decodes(kind, seed, blocks, deferred, pipelined) for kind in (PlainPrefixBlocks, PrefixBlocks)
    )
    assert runs == plain
