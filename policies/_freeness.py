"""Llumnix's measure of load, for its dispatch and its migrations."""

from itertools import islice
from math import inf

from simulator.policy import ReplicaView


def freeness(replica: ReplicaView, *, whole_queue: bool, headroom_blocks: int, urgent: int) -> float:
    """Return for how many more steps a replica has KV blocks if each request takes one a step; may be negative.

    F = (M - ΣV) / B: V, the virtual usage, is what a running request holds; for the first that waits (or all, with
    ``whole_queue``) what it will take; and for those of a priority number up to ``urgent`` together
    ``headroom_blocks`` that no other is to use. That of a replica that is to go is without limit: its freeness is the
    least. Source: Sun et al., "Llumnix", OSDI 2024 (arXiv 2406.03243), section 4.4, algorithm 1.
    """
    if replica.draining:
        return -inf
    waiting = list(islice(replica.waiting, None if whole_queue else 1))
    blocks = replica.free_blocks - sum(
        max(0, -(-job.known_tokens // replica.block_size) - job.blocks) for job in waiting
    )
    if headroom_blocks and any(job.priority <= urgent for job in replica.running):
        blocks -= headroom_blocks
    return blocks / max(1, len(replica.running) + len(waiting))
