"""Clusters whose replicas are ordered and given back, and what became of each."""

import math

import pytest

from policies.routing.round_robin import RoundRobin
from simulator.cluster.deployment import Deployment, Pool, Scaling
from tests.refusals import folder, refusal  # noqa: F401
from tests.small_clusters import ROOMY, SECOND, link, synchronous

NAN = pytest.approx(math.nan, nan_ok=True)


class Wants:
    """Wants given numbers, one a look."""

    def __init__(self, *numbers, interval_s=1.0):
        self.numbers, self.interval_s, self.seen = iter(numbers), interval_s, []

    def target(self, pool, now_s):
        self.seen.append((now_s, len(pool.replicas), pool.coming, len(pool.unplaced)))
        self.last = next(self.numbers, getattr(self, "last", 0))
        return self.last


def scaled(policy, *, least=0, most=4, replicas=1, provision_s=0.0, load_s=0.0, router=None, **more):
    scaling = Scaling(policy, least, most, provision_s, load_s)
    pool = Pool(synchronous, SECOND, more.pop("limits", ROOMY), replicas, scaling=scaling)
    return Deployment([pool], router or RoundRobin(), link=link(24), **more)


def lives(outcome):
    """Each as replica, ordered, billed from, ready, draining, released; None for never."""
    rows = zip(*(column.tolist() for column in outcome.tables.scaling.values()), strict=True)
    return [tuple(None if value != value else value for value in row) for row in rows]
