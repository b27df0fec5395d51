"""Replicas that change between prefill and decode."""

import numpy as np

from policies.roles.by_load import ByLoad
from simulator.replica.limits import Limits
from tests.small_clusters import ROOMY, apart, places, serve, times, traffic, transfers


class Switch:
    """Changes the side of one replica at the first look."""

    def __init__(self, replica, interval_s=2.25):
        self.replica, self.interval_s = replica, interval_s

    def switch(self, prefill, decode, now_s):
        found = [each for each in (*prefill, *decode) if each.index == self.replica]
        self.replica = None
        return found[0] if found else None


def test_a_decode_replica_that_becomes_a_prefill_replica_takes_prompts_and_ends_what_it_has():
    requests = traffic([0, 0, 3, 3], [10] * 4, [5] * 4)
    before = serve(requests, apart(1, 2))
    assert {places(before, i)[0] for i in range(4)} == {0}
    after = serve(requests, apart(1, 2, roles=Switch(2)))
    assert [places(after, i) for i in range(4)] == [
        [0, 1, 1, 1, 1],
        [0, 2, 2, 2, 2],  # decoded there before
        [2, 1, 1, 1, 1],
        [0, 1, 1, 1, 1],
    ]


def test_a_prefill_replica_that_becomes_a_decode_replica_may_keep_what_it_has():
    """The router may name the replica where the request already is; then nothing travels."""
    requests = traffic([0, 2], [10] * 2, [1, 3])
    outcome = serve(requests, apart(2, 1, roles=Switch(1)))
    assert places(outcome, 1) == [1, 1, 1]
    assert times(outcome, 1) == [3.0, 4.0, 5.0]
    assert transfers(outcome) == []


def test_the_last_of_a_side_keeps_its_role():
    requests = traffic([0, 3], [10] * 2, [3] * 2)
    for replica in (0, 1):
        outcome = serve(requests, apart(1, 1, roles=Switch(replica)))
        assert [places(outcome, i) for i in range(2)] == [[0, 1, 1]] * 2


def test_by_load_lends_a_decode_replica_to_a_flood_of_prompts():
    n = 40
    limits = (Limits(64, 64, 4096, 10_000, 16), ROOMY)
    requests = traffic(np.arange(n) * 0.3, [64] * n, [4] * n)
    roles = ByLoad(interval_s=1.3, prefill_tokens=200, cooldown_s=1000.0)
    fixed = serve(requests, apart(1, 3, limits=limits, speed=1000))
    lent = serve(requests, apart(1, 3, limits=limits, speed=1000, roles=roles))
    assert {places(fixed, i)[0] for i in range(n)} == {0}
    assert len({places(lent, i)[0] for i in range(n)}) == 2
    assert lent.tables.requests["first_token_s"].max() < 0.7 * fixed.tables.requests["first_token_s"].max()
