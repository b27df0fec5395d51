"""Steps that compute a token more of the jobs whose last one is in flight, as ``decode_all(beyond=True)`` plans it."""

from collections.abc import Sequence

from simulator.replica.decode_group import DecodeGroup
from simulator.replica.engine import Engine
from simulator.replica.job import Job


def with_ended(engine: Engine, ended: Sequence[Job]) -> tuple[int, int, int]:
    """Return how many decode in such a step, the sum of their contexts, and the blocks that it takes for ``ended``."""
    context_tokens, blocks = engine.group.context_tokens(), 0
    for job in ended:
        context_tokens += job.computed + 1
        blocks += job.computed % engine.block_size == 0
    return engine.group.size + len(ended), context_tokens, blocks


def ended_before(group: DecodeGroup) -> tuple[Sequence[Job], int]:
    """Take the jobs out that ended a tick before the last one; return them, and the blocks it took for them."""
    last = group.tick - 1
    group.tick = last
    opened = group.openers[last % group.block_size]
    ended = group.finished()
    group.tick = last + 1
    return ended, opened - group.openers[last % group.block_size]
