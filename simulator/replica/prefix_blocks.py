"""Prefix caching with vLLM's block semantics: equal beginnings share full KV blocks.

A full block is known by everything from the sequence's first token to the block's end (a chained hash).
Blocks are found again when a request is admitted, registered as soon as the tokens that fill them are
scheduled, and stay findable after they are freed until they are handed out anew, least recently freed
first. The last token of a request is always computed, so at most all full blocks before it are reused.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from simulator.replica.content import Content
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule


class PhasedGroup(DecodeGroup):
    """A decode group that also knows which jobs need a new block at which ticks."""

    __slots__ = ("phases",)

    def __init__(self, block_size: int, spans: list[int]) -> None:
        super().__init__(block_size, spans)
        self.phases: list[dict[Job, None]] = [{} for _ in range(block_size)]

    def put(self, job: Job) -> None:
        """As the base class; and note the job's phase."""
        super().put(job)
        if not job.reserved:
            self.phases[(job.joined_tick - job.computed) % self.block_size][job] = None

    def settle(self, job: Job) -> None:
        """As the base class; and forget the job's phase."""
        self.phases[(job.joined_tick - job.computed) % self.block_size].pop(job, None)
        super().settle(job)


class PrefixBlocks:
    """Numbered blocks, so that freed ones can be found again (a ``PrefixCache``)."""

    __slots__ = (
        "_asked", "_blocks", "_cached", "_changes", "_content", "_contents", "_deferred", "_filled", "_fills", "_found",
        "_free", "_group", "_names", "_partial_first", "_references", "_registered", "_running", "block_size",
        "free_blocks", "total_blocks",
    )  # fmt: skip

    group_type: ClassVar[type[DecodeGroup]] = PhasedGroup
    can_fast_forward: ClassVar[bool] = True

    def __init__(
        self,
        total_blocks: int,
        block_size: int,
        content: Callable[[Job], Content],
        *,
        deferred: bool = False,
        partial_first: bool = True,
    ) -> None:
        """``content`` returns what a request consists of; ``partial_first`` reuses unfindable blocks first.

        ``deferred`` registers the blocks that generated tokens fill when their step ends, as asynchronous
        scheduling does, which has not seen those tokens when it schedules.
        """
        self.total_blocks = self.free_blocks = total_blocks
        self.block_size = block_size
        self._content = content
        self._contents: dict[Job, Content] = {}
        self._blocks: dict[Job, list[int]] = {}  # the blocks of each running job, in order
        self._references = [0] * total_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(total_blocks))
        self._names: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}  # chained hash -> its number
        self._cached: dict[int, dict[int, None]] = {}  # name -> blocks that hold it, earliest first
        self._registered: dict[int, int] = {}  # block -> name
        self._deferred = deferred
        self._partial_first = partial_first
        self._filled: list[tuple[Job, int, int]] = []  # job, block index, preemptions when it was filled
        self._fills: list[list[tuple[Job, int, int]]] = []  # the same for the steps in flight
        self._changes = 0  # to what can be found
        self._asked: tuple[Job, int] | None = None  # the last look-up, and what it found
        self._found: list[int] = []

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the running jobs, and at those that decode."""
        assert isinstance(group, PhasedGroup)
        self._running, self._group = running, group

    # What is found

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job are found."""
        return len(self._hits(job)) * self.block_size

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many free blocks the job's first ``tokens`` take, the hits among the free ones included."""
        hits = self._hits(job)
        unused = sum(not self._references[block] for block in hits)
        return -(-tokens // self.block_size) - len(hits) + unused

    def prefix_ranks(self, rule: PrefixRule, waiting: Sequence[Job]) -> dict[Job, float]:
        """Return nothing: blocks know no order of waiting jobs."""
        return {}

    def begin(self, job: Job) -> int:
        """Give a waiting job the blocks that are found; return how many tokens they hold."""
        hits = self._hits(job)
        self._blocks[job] = list(hits)
        for block in hits:
            self._hold(block)
        job.blocks, job.computed = len(hits), len(hits) * self.block_size
        return job.computed

    # The moments of a step

    def step_opened(self) -> None:
        """Nothing changes."""

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """Register the blocks that a chunk fills."""
        size = self.block_size
        for index in range(first_token // size, (first_token + tokens) // size):
            if tokens == 1 and job.generated:
                self._fill(job, index)
            else:
                self._register(job, index)

    def decoding(self, blocks: int, seqs: int) -> None:
        """Give decoding jobs the blocks they open; register those that they fill."""
        self._open_and_fill(self._group.tick)

    def decode_refused(self, blocks: int) -> None:
        """Nothing can be done."""

    def preempted(self) -> None:
        """Nothing more changes."""

    def seated(self, job: Job) -> None:
        """The blocks that came full can be found from now on."""
        for index in range(job.computed // self.block_size):
            self._register(job, index)

    def step_planned(self, chunks: Collection[Job]) -> None:
        """What the step fills is registered when it ends."""
        self._fills.append(self._filled)
        self._filled = []

    def step_ended(self, completing: Sequence[Job]) -> None:
        """Register the blocks that the step's tokens filled."""
        for job, index, preemptions in self._fills.pop(0):
            if job in self._running and job.preemptions == preemptions:
                self._register(job, index)

    def fast_forwarded(self, first_tick: int, steps: int) -> None:
        """Do what planning and ending each of these steps does, in that order."""
        for tick in range(first_tick, first_tick + steps):
            if tick > first_tick:
                self.step_ended(())
            self._open_and_fill(tick)
            self.step_planned(())

    def forget(self, job: Job) -> None:
        """A job has left; what it consists of need not be known any more."""
        self._contents.pop(job, None)

    # Blocks

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks
        self._blocks.setdefault(job, []).extend(self._next_free() for _ in range(blocks))

    def release(self, job: Job) -> None:
        """Free the job's blocks, the last one first."""
        unfindable = []
        for block in reversed(self._blocks.pop(job)):
            self._references[block] -= 1
            if self._references[block] == 0:
                self.free_blocks += 1
                self._free[block] = None
                if block not in self._registered:
                    unfindable.append(block)
        if self._partial_first:
            for block in reversed(unfindable):
                self._free.move_to_end(block, last=False)
        job.blocks = 0

    def _open_and_fill(self, tick: int) -> None:
        """Decoding jobs get the blocks that they open at a tick, and fill others."""
        group, size = self._group, self.block_size
        for job in group.phases[tick % size]:
            self._blocks[job].append(self._next_free())
        filling = group.phases[(tick + 1) % size]
        for job in sorted(filling, key=_admission) if len(filling) > 1 else filling:
            self._fill(job, (job.computed + tick - job.joined_tick) // size)

    def _hold(self, block: int) -> None:
        if self._references[block] == 0:
            del self._free[block]
            self.free_blocks -= 1
        self._references[block] += 1

    def _next_free(self) -> int:
        """Hand out the block at the front of the free queue; what it held is forgotten."""
        block, _ = self._free.popitem(last=False)
        self._references[block] = 1
        name = self._registered.pop(block, None)
        if name is not None:
            self._changes += 1
            holders = self._cached[name]
            del holders[block]
            if not holders:
                del self._cached[name]
        return block

    def _fill(self, job: Job, index: int) -> None:
        """A generated token fills a block: register it now or, where it is not yet known, at the step's end."""
        if self._deferred:
            self._filled.append((job, index, job.preemptions))
        else:
            self._register(job, index)

    def _register(self, job: Job, index: int) -> None:
        block = self._blocks[job][index]
        if block not in self._registered:
            name = self._name(job, index)
            self._registered[block] = name
            self._changes += 1
            self._cached.setdefault(name, {})[block] = None

    def _name(self, job: Job, index: int) -> int:
        """The number that stands for everything up to the end of the job's block ``index``."""
        content = self._contents.get(job)
        if content is None:
            content = self._contents[job] = self._content(job)
        chain, size = content.chain, self.block_size
        while len(chain) <= index:
            start = len(chain) * size
            key = (chain[-1] if chain else -1, content.pieces(start, start + size))
            chain.append(self._names.setdefault(key, len(self._names)))
        return chain[index]

    def _hits(self, job: Job) -> list[int]:
        """The longest chain of findable blocks that a waiting job begins with."""
        asked = job, self._changes
        if self._asked == asked:
            return self._found
        self._asked, self._found = asked, self._look_up(job)
        return self._found

    def _look_up(self, job: Job) -> list[int]:
        hits: list[int] = []
        for index in range((job.known_tokens - 1) // self.block_size):
            holders = self._cached.get(self._name(job, index))
            if holders is None:
                break
            hits.append(next(iter(holders)))
        return hits


def _admission(job: Job) -> int:
    return job.admission
