"""A decode group keeps the rank of its jobs, and gives tokens back to the job that they were taken for."""

import pytest

from simulator.replica.decode_group import DecodeGroup
from simulator.testing import new_job


def decoding(*outputs):
    """A group of jobs of so many tokens, whose prompts of four gave the first; and where it writes its record."""
    spans = []
    group = DecodeGroup(4, spans)
    jobs = [new_job(number, prompt_tokens=4, output_tokens=tokens) for number, tokens in enumerate(outputs)]
    for job in jobs:
        job.computed, job.generated = 4, 1
        group.join(job)
    return group, jobs, spans


def rows(spans):
    return [tuple(spans[at : at + 3]) for at in range(0, len(spans), 3)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_jobs_that_end_together_do_so_in_the_order_asked_for(order):
    group, jobs, _ = decoding(3, 3, 3, 2)
    group.rank([jobs[place] for place in order])
    group.tick += 1
    assert group.finished() == [jobs[3]]
    group.tick += 1
    assert group.finished() == [jobs[place] for place in order]


def test_of_those_not_named_each_stays_where_it_was_and_comes_first():
    group, jobs, _ = decoding(2, 2, 2, 2)
    group.rank([jobs[2], jobs[0]])
    group.tick += 1
    assert group.finished() == [jobs[1], jobs[3], jobs[2], jobs[0]]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_last_token_is_taken_back_from_one_job_and_no_other(place):
    group, jobs, spans = decoding(9, 9, 9)
    group.tick += 2
    for job in jobs:
        group.leave(job)
    assert group.take_back(jobs[place])
    assert rows(spans) == [(number, 0, 1 if number == place else 2) for number in range(3)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_a_job_whose_only_token_is_taken_back_nothing_is_left(place):
    group, jobs, spans = decoding(9, 9, 9)
    group.tick += 1
    for job in jobs:
        group.leave(job)
    assert group.take_back(jobs[place])
    assert rows(spans) == [(number, 0, 1) for number in range(3) if number != place]


def test_a_job_without_a_token_of_the_last_tick_keeps_those_that_it_has():
    group, jobs, spans = decoding(9, 9)
    group.tick += 1
    group.leave(jobs[0])
    group.tick += 1
    assert not group.take_back(jobs[0])
    group.leave(jobs[1])
    assert not group.take_back(jobs[0])
    assert rows(spans) == [(0, 0, 1), (1, 0, 2)]
