"""Prefix caching block by block, as plain as it can be: ``PrefixBlocks``, which knows runs of blocks, must equal it."""

from collections import OrderedDict

from simulator.replica.phased_group import PhasedGroup
from simulator.replica.prefix_blocks import PrefixBlocks


class PlainPrefixBlocks:
    """Numbered blocks. A full one is known by all tokens from the first to its last."""

    group_type = PhasedGroup
    can_fast_forward = True

    def __init__(self, total_blocks, block_size, content, *, deferred=False, partial_first=True):
        self.total_blocks = self.free_blocks = total_blocks
        self.block_size = block_size
        self.content = content
        self.deferred = deferred
        self.partial_first = partial_first
        self.blocks = {}  # of each job, in order
        self.references = [0] * total_blocks  # jobs that hold a block
        self.free = OrderedDict.fromkeys(range(total_blocks))  # what is used first is first
        self.names = {}  # of blocks that can be found
        self.holders = {}  # of each name the blocks, in the order of their registration
        self.filled = []  # job, place and preemptions of blocks that generated tokens fill in the step that is planned
        self.in_flight = []  # the same of the steps in flight

    def watch(self, running, partial, group):
        self.running, self.group = running, group

    def name(self, job, place):
        return self.content(job).pieces(0, (place + 1) * self.block_size)

    def hits(self, job):
        found = []
        for place in range((job.known_tokens - 1) // self.block_size):
            holders = self.holders.get(self.name(job, place))
            if not holders:
                break
            found.append(holders[0])
        return found

    def cached_tokens(self, job):
        return len(self.hits(job)) * self.block_size

    def blocks_to_admit(self, job, tokens):
        hits = self.hits(job)
        return -(-tokens // self.block_size) - len(hits) + sum(self.references[each] == 0 for each in hits)

    def prefix_ranks(self, rule, waiting):
        return {}

    def begin(self, job):
        self.blocks[job] = self.hits(job)
        for block in self.blocks[job]:
            if self.references[block] == 0:
                del self.free[block]
                self.free_blocks -= 1
            self.references[block] += 1
        job.blocks = len(self.blocks[job])
        job.computed = job.blocks * self.block_size
        return job.computed

    def next_free(self):
        block, _ = self.free.popitem(last=False)
        self.references[block] = 1
        if block in self.names:
            self.holders[self.names.pop(block)].remove(block)
        return block

    def take(self, job, blocks):
        self.free_blocks -= blocks
        job.blocks += blocks
        self.blocks.setdefault(job, []).extend(self.next_free() for _ in range(blocks))

    def release(self, job):
        nameless = []
        for block in reversed(self.blocks.pop(job)):
            self.references[block] -= 1
            if self.references[block] == 0:
                self.free_blocks += 1
                self.free[block] = None
                if block not in self.names:
                    nameless.append(block)
        if self.partial_first:
            for block in nameless:
                self.free.move_to_end(block, last=False)
        job.blocks = 0

    def register(self, job, place):
        block = self.blocks[job][place]
        if block not in self.names:
            self.names[block] = self.name(job, place)
            self.holders.setdefault(self.names[block], []).append(block)

    def fill(self, job, place):
        if self.deferred:
            self.filled.append((job, place, job.preemptions))
        else:
            self.register(job, place)

    def step_opened(self):
        pass

    def chunk(self, job, first_token, tokens):
        for place in range(first_token // self.block_size, (first_token + tokens) // self.block_size):
            if tokens == 1 and job.generated:
                self.fill(job, place)
            else:
                self.register(job, place)

    def decoding(self, blocks, seqs):
        self.tick(self.group.tick)

    def tick(self, tick):
        size = self.block_size
        for job in self.group.phases[tick % size]:
            self.blocks[job].append(self.next_free())
        for job in sorted(self.group.phases[(tick + 1) % size], key=lambda each: each.admission):
            self.fill(job, (job.computed + tick - job.joined_tick) // size)

    def decode_refused(self, blocks):
        pass

    def preempted(self):
        pass

    def seated(self, job):
        for place in range(job.computed // self.block_size):
            self.register(job, place)

    def step_planned(self, chunks):
        self.in_flight.append(self.filled)
        self.filled = []

    def step_ended(self, completing):
        for job, place, preemptions in self.in_flight.pop(0):
            if job in self.running and job.preemptions == preemptions:
                self.register(job, place)

    def fast_forwarded(self, first_tick, steps, blocks, seqs):
        for tick in range(first_tick, first_tick + steps):
            if tick > first_tick:
                self.step_ended(())
            self.tick(tick)
            self.step_planned(())

    def forget(self, job):
        pass


def kept(cache):
    """What a cache holds: the names of free blocks, first used first, and how often each holder of a name is held.

    A name is what a block and those before it hold; None: it cannot be found.
    """
    if isinstance(cache, PrefixBlocks):
        return _kept_by_runs(cache)
    holders = {
        name: [cache.references[each] for each in found] for name, found in cache.holders.items() if found
    }
    return [cache.names.get(block) for block in cache.free], holders


def _kept_by_runs(cache):
    for stretch in list(cache._stretches._known.values()):
        if stretch.grows_by is not None:
            cache._look_at(stretch)
    free = [
        None if run.stretch is None else _name(run.stretch, place, cache.block_size)
        for run in cache._free.in_order()
        for place in reversed(range(run.first, run.end))
    ]
    holders = {}
    for stretch in cache._stretches._known.values():
        for run in stretch.runs:
            for place in range(run.first, run.end):
                holders.setdefault(_name(stretch, place, cache.block_size), []).append(run.references)
    return free, holders


def _name(stretch, place, block_size):
    pieces, end = [], place + 1
    while stretch is not None:
        before, first, holds = stretch.name
        meet, stream = ((), holds) if isinstance(holds, int) else (holds, holds[-1][0])
        pieces[:0] = [*meet, (stream, (end - first - bool(meet)) * block_size)]
        stretch, end = before, first
    merged = []
    for stream, tokens in pieces:
        if not tokens:
            continue
        if merged and merged[-1][0] == stream:
            merged[-1] = stream, merged[-1][1] + tokens
        else:
            merged.append((stream, tokens))
    return tuple(merged)
