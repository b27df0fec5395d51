"""Prefill and decode replicas with room for few requests."""

from tests.small_clusters import apart, tight

FULL = (tight(6), tight(3))  # three requests of 8 + 4 tokens at the prefill replica, one where they decode


def full(when_full, **more):
    return apart(limits=FULL, speed=8, when_full=when_full, **more)
