"""What happens at one instant has an order: arrivals, then ends of steps replica by replica, in a step by request."""

import numpy as np

from tests.small_clusters import serve, together, traffic


class Place:
    """Sends the requests of each session to a replica of its own."""

    def __init__(self, *places):
        self.places = places

    def route(self, job, replicas, draw):
        return self.places[job.session]


def second_turns(places, firsts=(0.0, 0.0, 0.0, 0.0)):
    """Four conversations whose first answers end at the same instant; return in which order the second turns arrive."""
    turns = traffic(
        [*firsts, 9.0, 9.0, 9.0, 9.0],
        [4] * 8,
        [2] * 8,
        session=np.array([0, 1, 2, 3, 0, 1, 2, 3]),
        think_s=np.array([np.nan] * 4 + [0.0] * 4),
    )
    outcome = serve(turns, together(4, router=Place(*places)))
    requests = outcome.tables.requests
    assert len(set(requests["arrival_s"][4:].tolist())) == 1
    return requests["session"][4:].tolist()


def test_of_answers_that_end_at_one_instant_the_first_is_that_of_the_first_replica():
    assert second_turns((0, 1, 2, 3)) == [0, 1, 2, 3]
    assert second_turns((3, 1, 2, 0)) == [3, 1, 2, 0]
    assert second_turns((2, 3, 0, 1)) == [2, 3, 0, 1]


def test_of_one_replica_the_first_is_that_of_the_request_that_came_first():
    assert second_turns((1, 0, 1, 0)) == [1, 3, 0, 2]
    assert second_turns((0, 0, 0, 0)) == [0, 1, 2, 3]


def test_what_arrives_at_one_instant_by_the_trace_comes_before_turns_of_that_instant():
    """The first answer ends at 2.0, and the next turn comes a second later, with three other requests."""
    turns = traffic(
        [0.0, 3.0, 3.0, 3.0, 9.0],
        [4] * 5,
        [2] * 5,
        session=np.array([0, -1, -1, -1, 0]),
        think_s=np.array([np.nan, np.nan, np.nan, np.nan, 1.0]),
    )
    requests = serve(turns, together(1)).tables.requests
    assert requests["arrival_s"].tolist() == [0.0, 3.0, 3.0, 3.0, 3.0]
    assert requests["session"].tolist() == [0, -1, -1, -1, 0]
