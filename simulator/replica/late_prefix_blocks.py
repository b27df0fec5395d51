"""Prefix caching where no two requests have anything in common: it begins with the first preemption.

Until then nothing can be found, so that counting blocks is enough and costs nothing. A request that loses its blocks
finds them again, as far as they have not been handed out anew: from that moment on blocks are numbered. What is
registered by then follows from what has been computed; the blocks that are free hold nothing that a request asks for.
"""

from simulator.replica.decode_group import DecodeGroup
from simulator.replica.engine import Engine
from simulator.replica.held_blocks import HeldBlocks
from simulator.replica.job import Job
from simulator.replica.kv import CountedBlocks
from simulator.replica.phased_group import PhasedGroup
from simulator.replica.prefix_blocks import PrefixBlocks


class LatePrefixBlocks(PrefixBlocks):
    """Numbered blocks that take the place of counted ones in the midst of a plan."""

    __slots__ = ()

    def begin_in(self, engine: Engine) -> None:
        """Take over an engine's pool: do what would have been done from its first step on."""
        counted = engine.kv
        assert isinstance(counted, CountedBlocks)
        engine.group = _phased(engine.group, engine)
        self.watch(engine.running, engine.partial, engine.group)
        self.free_blocks = counted.free_blocks
        fixed = sum(job.fixed_blocks for job in engine.running)  # which are of no block in particular
        self._use(self.total_blocks - self.free_blocks - fixed)
        self._planned_tick = self._seen_tick = engine.group.tick  # no job that may grow has joined by then
        self._fills.extend((self._seen_tick, []) for _ in engine.unended)
        for job in engine.running:
            self._take_over(job, engine)
        transfers = engine.transfers
        brought = [job for job in engine.waiting if job.blocks]
        for job in [*transfers.sending, *transfers.reserved, *transfers.received, *brought]:
            self._held[job] = HeldBlocks(None, [])
        for job in transfers.sending:
            self._register(job, 0, job.computed // self.block_size)
        engine.kv = engine.cache = self

    def _take_over(self, job: Job, engine: Engine) -> None:
        """Register the full blocks of a running job, but for those that the steps in flight fill."""
        self._held[job] = HeldBlocks(None, [])
        tokens, chunk = job.computed_tokens, engine.chunks.get(job, 0)
        registered = tokens // self.block_size
        if self._deferred and registered and tokens % self.block_size == 0 and _decoded_last(job, engine):
            registered -= 1
            self._fills[-1][1].append((job, registered, job.preemptions))
        self._register(job, 0, registered)
        if chunk:
            self.chunk(job, tokens, chunk)
        elif engine.ticks and job.group is not None and (tokens + 1) % self.block_size == 0:
            self._fill(job, tokens // self.block_size)


def _decoded_last(job: Job, engine: Engine) -> bool:
    """Whether the token that a job computed last is a generated one, of the step in flight."""
    if not engine.unended:
        return False
    rows = engine.records.chunks
    for place in range(len(rows) - 4, -1, -4):
        step, request, tokens, _ = rows[place : place + 4]
        if step < engine.step - 1:
            break
        if request == job.id:
            return tokens == 1 and job.generated > (job not in engine.partial)
    ticks, tick = engine.unended[-1][1], engine.group.tick
    if job.group is not None:
        return ticks and job.joined_tick < tick
    spans = engine.records.spans  # of jobs that have left the group, the last ones last
    for place in range(len(spans) - 3, -1, -3):
        request, joined, count = spans[place : place + 3]
        if joined + count < tick:
            break
        if request == job.id:
            return ticks
    return False


def _phased(group: DecodeGroup, engine: Engine) -> PhasedGroup:
    """Return the same group as one that knows which jobs need a block when."""
    phased = PhasedGroup(group.block_size, group.spans)
    phased.go_on_from(group)
    for job in engine.running:
        if job.group is group:
            job.group = phased
            phased.note(job)
    return phased
