"""The fleet finds the least loaded replica without looking at all of them."""

import math

from hypothesis import given
from hypothesis import strategies as st

from simulator.clock import Clock
from simulator.cluster.fleet import FEW, Fleet
from simulator.policy import least_loaded, place_of
from tests.compiled import interpreted_only

pytestmark = interpreted_only


class Server:
    """A replica as far as a fleet looks at it; counts the looks."""

    clock = Clock()

    def __init__(self):
        self.tokens, self.looks = 0, 0

    @property
    def outstanding_tokens(self):
        self.looks += 1
        return self.tokens

    def load(self):
        return self.tokens, math.inf


@given(st.integers(1, FEW + 6), st.lists(st.tuples(st.integers(0, 5), st.integers(-30, 30)), max_size=80))
def test_bounds_say_what_looking_at_all_says(replicas, changes):
    servers = [Server() for _ in range(replicas)]
    fleet = Fleet(servers)
    for number, change in changes:
        server = servers[number % replicas]
        server.tokens = max(0, server.tokens + change)
        if change < 0:
            fleet.load_fell(server)
        assert least_loaded(fleet) == least_loaded(list(servers))
    assert place_of(servers[-1], fleet) == place_of(servers[-1], list(fleet)) == replicas - 1
    assert place_of(Server(), fleet) is place_of(Server(), servers) is None
    assert fleet[0] is servers[0]
    assert fleet[:2] == servers[:2]


def test_few_are_looked_at_however_many_there_are():
    looks = {}
    for replicas in (FEW + 2, 1000):
        servers = [Server() for _ in range(replicas)]
        fleet = Fleet(servers)
        for turn in range(5000):
            chosen = servers[fleet.least_loaded()]
            chosen.tokens += 100 + turn % 7
            if turn % 3 == 0:
                chosen.tokens -= 150 if chosen.tokens > 150 else 0
                fleet.load_fell(chosen)
        looks[replicas] = sum(server.looks for server in servers)
    assert looks[1000] < 1.5 * looks[FEW + 2]
