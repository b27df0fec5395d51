"""Prefix caching with vLLM's block semantics: equal beginnings share full KV blocks.

A full block is known by everything from the sequence's first token to the block's end (a chained hash).
Blocks are found again when a request is admitted, registered as soon as the tokens that fill them are
scheduled, and stay findable after they are freed until they are handed out anew, least recently freed
first. The last token of a request is always computed, so at most all full blocks before it are reused.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from simulator.replica.books import Books
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.limits import Limits
from simulator.replica.request import Job, RequestState

# What a sequence consists of: (stream, tokens) one after another. The token at position j is equal in two
# sequences if it lies in the same stream at the same position.
Segments = Sequence[tuple[int, int]]


class Content:
    """What a request's tokens are: the prompt's segments, then everything generated in one stream."""

    __slots__ = ("_ends", "_streams", "chain")

    def __init__(self, segments: Segments, output_stream: int) -> None:
        self.chain: list[int] = []  # the names of its full blocks, as far as they were asked for
        self._streams = [stream for stream, _ in segments] + [output_stream]
        self._ends: list[int] = []
        end = 0
        for _, tokens in segments:
            end += tokens
            self._ends.append(end)

    def pieces(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """The tokens at positions ``start`` to ``end`` as (stream, tokens)."""
        first = bisect_right(self._ends, start)
        if first == len(self._ends) or end <= self._ends[first]:  # all in one stream, as most blocks are
            return ((self._streams[first], end - start),)
        found: list[tuple[int, int]] = []
        for stream, stop in zip(self._streams[first:], [*self._ends[first:], end], strict=True):
            if start < stop:
                tokens = min(stop, end) - start
                if found and found[-1][0] == stream:
                    found[-1] = stream, found[-1][1] + tokens
                else:
                    found.append((stream, tokens))
                start += tokens
                if start == end:
                    break
        return tuple(found)


class PhasedGroup(DecodeGroup):
    """A decode group that also knows who needs a new block at which ticks."""

    __slots__ = ("phases",)

    def __init__(self, block_size: int, spans: list[int]) -> None:
        super().__init__(block_size, spans)
        self.phases: list[dict[Job, None]] = [{} for _ in range(block_size)]

    def join(self, job: Job) -> None:
        """As the base class; and note the job's phase."""
        super().join(job)
        if not job.reserved:
            self.phases[(job._joined_tick - job._computed) % self.block_size][job] = None

    def _settle(self, job: Job) -> None:
        self.phases[(job._joined_tick - job._computed) % self.block_size].pop(job, None)
        super()._settle(job)


class SharingBooks(Books):
    """Books whose requests share what they begin alike with; the base of both prefix caches."""

    __slots__ = ("_content", "_contents")

    def __init__(
        self,
        limits: Limits,
        *,
        null_blocks: int = 0,
        queue_key: Callable[[Job], Any] | None = None,
        content: Callable[[int], Content],
    ) -> None:
        """``content`` returns what a request consists of."""
        super().__init__(limits, null_blocks=null_blocks, queue_key=queue_key)
        self._content = content
        self._contents: dict[Job, Content] = {}

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """As the base class; what is complete need not be known any more."""
        super().retire(completing, end_s)
        for job in completing:
            self._contents.pop(job, None)

    def _end(self, job: Job, state: RequestState, time_s: float) -> None:
        super()._end(job, state, time_s)
        self._contents.pop(job, None)

    def let_go(self, job: Job) -> None:
        """As the base class; what is elsewhere need not be known any more."""
        super().let_go(job)
        self._contents.pop(job, None)

    def _content_of(self, job: Job) -> Content:
        content = self._contents.get(job)
        if content is None:
            content = self._contents[job] = self._content(job.id)
        return content


class CachingBooks(SharingBooks):
    """Books that hand out numbered blocks, so that freed ones can be found again.

    ``deferred`` registers the blocks that generated tokens fill when their step ends, as asynchronous
    scheduling does, which has not seen those tokens when it schedules.
    """

    numbered = True

    __slots__ = (
        "_asked", "_blocks", "_cached", "_changes", "_deferred", "_filled",
        "_fills", "_found", "_free", "_names", "_partial_first", "_references", "_registered",
    )  # fmt: skip

    group_type = PhasedGroup

    def __init__(
        self,
        limits: Limits,
        *,
        null_blocks: int = 0,
        queue_key: Callable[[Job], Any] | None = None,
        content: Callable[[int], Content],
        deferred: bool = False,
        partial_first: bool = True,
    ) -> None:
        """``partial_first`` reuses unfindable blocks first."""
        super().__init__(limits, null_blocks=null_blocks, queue_key=queue_key, content=content)
        self._blocks: dict[Job, list[int]] = {}  # the blocks of each running job, in order
        self._references = [0] * self.total_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(self.total_blocks))
        self._names: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}  # chained hash -> its number
        self._cached: dict[int, dict[int, None]] = {}  # name -> blocks that hold it, earliest first
        self._registered: dict[int, int] = {}  # block -> name
        self._deferred = deferred
        self._partial_first = partial_first
        self._filled: list[tuple[Job, int, int]] = []  # job, block index, preemptions when it was filled
        self._fills: list[list[tuple[Job, int, int]]] = []  # the same for the steps under way
        self._changes = 0  # to what can be found
        self._asked: tuple[Job, int] | None = None  # the last look-up, and what it found
        self._found: list[int] = []

    # What the policy sees

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a waiting job whose KV blocks are still there."""
        return len(self._hits(job)) * self.block_size

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Free blocks that the job's first ``tokens`` tokens take, the hits among the free ones included."""
        hits = self._hits(job)
        unused = sum(not self._references[block] for block in hits)
        return self.blocks_for(tokens) - len(hits) + unused

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """As the base class, after taking the blocks that are found; ``tokens`` do not count those."""
        hits = self._hits(job)
        computed = len(hits) * self.block_size
        blocks = self.blocks_to_admit(job, computed + tokens)
        if self.seats <= 0 or tokens > self.token_budget or blocks > self.free_blocks:
            return False
        self._blocks[job] = list(hits)
        for block in hits:
            self._hold(block)
        job.blocks, job._computed = len(hits), computed
        self.records.hit_tokens += computed
        self.records.looked_up_tokens += job.known_tokens
        return super().admit(job, tokens, reserve_tokens)

    def decode_all(self) -> bool:
        """As the base class; whoever needs a block gets it, whoever fills one has it registered."""
        if not super().decode_all():
            return False
        if self.ticks:
            self._open_and_fill(self.group.tick)
        return True

    # What the replica does

    def advance(self) -> Sequence[Job]:
        """As the base class."""
        self._fills.append(self._filled)
        self._filled = []
        return super().advance()

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """As the base class, after registering the blocks that the step's tokens filled."""
        self._register_filled()
        super().retire(completing, end_s)

    def _hand_out(self, first_tick: int, steps: int) -> None:
        """As the base class, in the order in which steps are planned and end."""
        for tick in range(first_tick, first_tick + steps):
            if tick > first_tick:
                self._register_filled()
            self._open_and_fill(tick)
            self._fills.append(self._filled)
            self._filled = []

    # Blocks

    def _open_and_fill(self, tick: int) -> None:
        """Decoding jobs get the blocks that they open at a tick, and fill others."""
        group, size = self.group, self.block_size
        assert isinstance(group, PhasedGroup)
        for job in group.phases[tick % size]:
            self._blocks[job].append(self._next_free())
        filling = group.phases[(tick + 1) % size]
        for job in sorted(filling, key=_admission) if len(filling) > 1 else filling:
            self._fill(job, (job._computed + tick - job._joined_tick) // size)

    def _register_filled(self) -> None:
        """A step has ended: the blocks that its tokens filled can be found."""
        for job, index, preemptions in self._fills.pop(0):
            if job in self.running and job.preemptions == preemptions:
                self._register(job, index)

    def _schedule(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        computed = job._computed
        if not super()._schedule(job, tokens, reserve_tokens):
            return False
        for index in range(computed // self.block_size, (computed + tokens) // self.block_size):
            if tokens == 1 and job._generated:
                self._fill(job, index)
            else:
                self._register(job, index)
        return True

    def _seat(self, job: Job) -> None:
        """As the base class; the blocks that came full can be found from now on."""
        super()._seat(job)
        for index in range(job._computed // self.block_size):
            self._register(job, index)

    def _take(self, job: Job, blocks: int) -> None:
        super()._take(job, blocks)
        self._blocks.setdefault(job, []).extend(self._next_free() for _ in range(blocks))

    def _release(self, job: Job) -> None:
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
        content = self._content_of(job)
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
