"""What is taken over from the request that a prompt goes on from is what would be worked out anew."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.replica.content import Content
from simulator.replica.outline import MOST_KEPT, Outline, Outlines
from tests.compiled import interpreted_only

SIZE = 4
TOKENS = st.integers(0, 11)
# Prompts that share beginnings, and streams that meet anywhere in a block; answers may be of a stream of the prompt
SEGMENTS = st.lists(st.tuples(st.integers(0, 3), TOKENS), max_size=4)


def plain(content):
    """The holds of the first hundred blocks, block by block."""
    return [content.pieces(block * SIZE, (block + 1) * SIZE) for block in range(100)]


def unrolled(outline):
    """The same from an outline."""
    found = []
    ends = [*outline.firsts[1:], 100]
    for first, end, held in zip(outline.firsts, ends, outline.holds, strict=True):
        meet, stream = ([held], held[-1][0]) if isinstance(held, tuple) else ([], held)
        found += [*meet, *[((stream, SIZE),)] * (end - first - len(meet))]
    return found


@given(st.data())
def test_an_outline_that_goes_on_from_another_is_one_made_anew(data):
    before = Content(tuple(data.draw(SEGMENTS)), data.draw(st.integers(0, 4)))
    first = Outline(before, SIZE)
    shared = before.segments
    if shared and shared[-1][0] == before.output_stream and data.draw(st.booleans()):
        shared = shared[:-1]
    segments = (*shared, (before.output_stream, data.draw(TOKENS)), *data.draw(SEGMENTS))
    stream = data.draw(st.integers(0, 5))
    anew, goes_on = Content(segments, stream), Content(segments, stream)
    if goes_on.go_on_from(before):
        after = Outline(goes_on, SIZE, first)
        alone = Outline(anew, SIZE)
        assert (after.firsts, after.holds) == (alone.firsts, alone.holds)
        assert goes_on.streams == anew.streams
        assert goes_on.ends == anew.ends
    assert unrolled(Outline(goes_on, SIZE)) == plain(anew)


@pytest.mark.parametrize("own", [0, 5])
@interpreted_only
def test_a_session_takes_over_what_its_turn_before_has(own):
    """Of each turn: what the last had, its answer of 9 tokens, then 6 new ones."""
    requests = [Content(((7, 10), (-1, own)) if own else ((7, 10),), -1)]
    for turn in range(1, 6):
        last = requests[-1]
        parts = [each for each in last.segments if each[0] != -turn]
        tokens = 9 + sum(each[1] for each in last.segments if each[0] == -turn)
        requests.append(Content((*parts, (-turn, tokens), (-turn - 1, 6)), -turn - 1))
        assert Content(requests[-1].segments, -turn - 1).go_on_from(last.read())
    jobs = [SimpleNamespace(number=number) for number in range(len(requests))]
    outlines = Outlines(lambda job: Content(requests[job.number].segments, -1 - job.number), SIZE)
    for job in jobs:
        outlines.of(job).stretches = [f"stretch {place}" for place in range(len(outlines.of(job).firsts))]
    after = outlines.of(jobs[0])
    assert outlines.of(jobs[0]) is after  # kept
    assert unrolled(outlines.of(jobs[-1])) == plain(requests[-1])


def test_what_was_known_is_taken_over_as_far_as_it_is_alike():
    before = Outline(Content(((1, 8), (2, 8)), 3), SIZE)
    before.stretches = ["of 1", "of 2", "of 3"]
    content = Content(((1, 8), (2, 8), (3, 9), (4, 5)), 4)
    assert content.go_on_from(before.content)
    assert Outline(content, SIZE, before).stretches == ["of 1", "of 2", "of 3"]
    content = Content(((1, 8), (2, 8), (3, 2), (4, 5)), 4)  # the answer does not fill a block
    assert content.go_on_from(before.content)
    assert Outline(content, SIZE, before).stretches == ["of 1", "of 2"]


def test_a_prompt_that_repeats_no_other_is_read_from_its_beginning():
    before = Content(((1, 8),), 3).read()
    for segments in (((1, 9), (3, 4)), ((1, 8), (2, 4)), ((1, 8),), ((1, 8), (3, 0), (4, 4))):
        assert not Content(segments, 9).go_on_from(before)


@interpreted_only
def test_few_are_kept():
    outlines = Outlines(lambda job: Content(((job.number, 8),), -1 - job.number), SIZE)
    jobs = [SimpleNamespace(number=number) for number in range(MOST_KEPT + 1)]
    first = outlines.of(jobs[0])
    for job in jobs[1:]:
        outlines.of(job)
    assert outlines.of(jobs[0]) is not first
