"""Prefix caching with vLLM's block semantics: equal beginnings share full KV blocks.

A full block is known by everything from the sequence's first token to the block's end (a chained hash).
Blocks are found again when a request is admitted, registered as soon as the tokens that fill them are
scheduled, and stay findable after they are freed until they are handed out anew, least recently freed
first. The last token of a request is always computed, so at most all full blocks before it are reused.

All of it is done by runs of blocks (``block_runs.py``): a prompt of thousands of blocks is looked up, registered, freed
and evicted in a few moves. What happens is what would happen block by block.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from simulator.replica.block_runs import FreeBlocks, Stretch, Stretches, pieces_up_to
from simulator.replica.content import Content, StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.held_blocks import HeldBlocks, Hits, look_up
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule
from simulator.replica.outline import Outlines
from simulator.replica.phased_group import PhasedGroup

_NOTHING: Sequence[tuple[Job, int, int]] = ()


class PrefixBlocks:
    """Numbered blocks, so that freed ones can be found again (a ``PrefixCache``)."""

    __slots__ = (
        "_asked", "_changes", "_deferred", "_filled", "_fills", "_found", "_free", "_group", "_held", "_outlines",
        "_running", "_stretches", "block_size", "free_blocks", "total_blocks",
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
        self._outlines = Outlines(content, block_size)
        self._held: dict[Job, HeldBlocks] = {}  # of each job that has blocks
        self._stretches = Stretches()
        self._free = FreeBlocks(total_blocks, self._stretches, nameless_first=partial_first)
        self._deferred = deferred
        self._filled: list[tuple[Job, int, int]] = []  # job, block, preemptions when it was filled
        self._fills: deque[Sequence[tuple[Job, int, int]]] = deque()  # the same for the steps in flight
        self._changes = 0  # to what is found, and whether it is free
        self._asked: tuple[Job, int, int] | None = None  # the last look-up, and what it found
        self._found = Hits([], [], 0, 0)

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the running jobs, and at those that decode."""
        assert isinstance(group, PhasedGroup)
        self._running, self._group = running, group

    def tell_evicted(self, told: Callable[[StreamPieces, int, int], None]) -> None:
        """Call ``told`` with what a sequence consists of, when tokens from one to another are found no more."""
        size = self.block_size

        def tell(stretch: Stretch, first: int, end: int) -> None:
            if first + 1 < end and stretch.meets_at(first):  # the block in which streams meet comes last
                told(pieces_up_to(stretch, end, size), (first + 1) * size, end * size)
                end = first + 1
            told(pieces_up_to(stretch, end, size), first * size, end * size)

        self._free.told = tell

    # What is found

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job are found."""
        return self._hits(job).blocks * self.block_size

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many free blocks the job's first ``tokens`` take, the hits among the free ones included."""
        hits = self._hits(job)
        return -(-tokens // self.block_size) - hits.blocks + hits.free_blocks

    def prefix_ranks(self, rule: PrefixRule, waiting: Sequence[Job]) -> dict[Job, float]:
        """Return nothing: blocks know no order of waiting jobs."""
        return {}

    def begin(self, job: Job) -> int:
        """Give a waiting job the blocks that are found; return how many tokens they hold."""
        hits = self._hits(job)
        held = self._held[job] = HeldBlocks(None, hits.stretches)
        held.know(self._outlines.of(job))
        if hits.stretches:
            hits.stretches[-1].uses += 1
        for run, first, end in hits.runs:
            held.hold(run, first, end, self._free)
        self.free_blocks -= hits.free_blocks
        self._changes += 1
        job.blocks, job.computed = hits.blocks, hits.blocks * self.block_size
        return job.computed

    # The moments of a step

    def step_opened(self) -> None:
        """Nothing changes."""

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """Register the blocks that a chunk fills."""
        size = self.block_size
        first, end = first_token // size, (first_token + tokens) // size
        if first < end:
            if tokens == 1 and job.generated:
                self._fill(job, first)
            else:
                self._register(job, first, end)

    def decoding(self, blocks: int, seqs: int) -> None:
        """Give decoding jobs the blocks they open; register those that they fill."""
        self._use(blocks)
        self._fill_at(self._group.tick)

    def decoding_apart(self, blocks: int, filling: Sequence[tuple[Job, int]]) -> None:
        """As ``decoding``, of jobs that are not in the decode group, with the blocks that they fill."""
        self._use(blocks)
        for job, block in filling:
            self._fill(job, block)

    def drafting(self, blocks: int, seqs: int, too_many: int) -> None:
        """Nothing changes: they have taken their blocks, and ``grew`` tells what they fill."""

    def grew(self, job: Job, tokens: int) -> None:
        """Register the blocks that they fill."""
        size = self.block_size
        for block in range(job.computed // size, (job.computed + tokens) // size):
            self._fill(job, block)

    def decode_refused(self, blocks: int) -> None:
        """Nothing can be done."""

    def preempted(self) -> None:
        """Nothing more changes."""

    def seated(self, job: Job) -> None:
        """The blocks that came full can be found from now on."""
        self._register(job, 0, job.computed // self.block_size)

    def step_planned(self, chunks: Collection[Job]) -> None:
        """What the step fills is registered when it ends."""
        if self._filled:
            self._fills.append(self._filled)
            self._filled = []
        else:
            self._fills.append(_NOTHING)

    def step_ended(self, completing: Sequence[Job]) -> None:
        """Register the blocks that the step's tokens filled."""
        for job, block, preemptions in self._fills.popleft():
            if job in self._running and job.preemptions == preemptions:
                self._register(job, block, block + 1)

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int, seqs: int) -> None:
        """Do what planning and ending each of these steps does, in that order."""
        if blocks:
            self._use(blocks)
        phases, size, fills = self._group.phases, self.block_size, self._fills
        last = first_tick + steps
        ended = last - 1 - len(fills)  # the ticks before it end, as many steps as before stay in flight
        if ended < first_tick:
            ended = first_tick
        for _ in range(min(len(fills), steps - 1)):
            self.step_ended(())
        for tick in range(first_tick, ended):
            filling = phases[(tick + 1) % size]
            if filling:
                for job in sorted(filling, key=admission_of) if len(filling) > 1 else filling:
                    block = (job.computed + tick - job.joined_tick) // size
                    self._register(job, block, block + 1)
        for tick in range(ended, last):
            if phases[(tick + 1) % size]:
                self._fill_at(tick)
            self.step_planned(())

    def forget(self, job: Job) -> None:
        """A job has left; nothing is kept of it but its blocks."""

    # Blocks

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks
        if job not in self._held:
            self._held[job] = HeldBlocks(None, [])
        self._use(blocks)

    def release(self, job: Job) -> None:
        """Free the job's blocks, the last one first."""
        held = self._held.pop(job)
        self.free_blocks += held.release(job.blocks, self._free)
        self._changes += 1
        job.blocks = 0
        if held.stretches:
            held.stretches[-1].uses -= 1
            self._stretches.forget(held.stretches[-1])

    def _use(self, blocks: int) -> None:
        """Hand out the blocks at the front of the free queue; what they held is forgotten."""
        if blocks and self._free.use(blocks):
            self._changes += 1

    # What is registered

    def _fill_at(self, tick: int) -> None:
        """Decoding jobs fill blocks with their tokens of a tick."""
        filling = self._group.phases[(tick + 1) % self.block_size]
        for job in sorted(filling, key=admission_of) if len(filling) > 1 else filling:
            self._fill(job, (job.computed + tick - job.joined_tick) // self.block_size)

    def _fill(self, job: Job, block: int) -> None:
        """A generated token fills a block: register it now or, where it is not yet known, at the step's end."""
        if self._deferred:
            self._filled.append((job, block, job.preemptions))
        else:
            self._register(job, block, block + 1)

    def _register(self, job: Job, first: int, end: int) -> None:
        """Make a job's blocks from ``first`` to ``end`` findable, as far as they are not."""
        held = self._held[job]
        ends, outline = held.ends, held.outline
        if ends and outline is not None:
            run, stretches = held.runs[-1], held.stretches
            if (
                first == ends[-1] == run.end
                and run.references == 1
                and len(stretches) == len(outline.firsts)
                and stretches[-1].runs[-1] is run
            ):  # one more of its answer, which no other shares
                run.end = ends[-1] = end
                self._changes += 1
                return
        if ends and first < ends[-1]:
            for gap in held.missing(first, end):
                self._name(job, held, *gap)
        elif first < end:
            self._name(job, held, first, end)

    def _name(self, job: Job, held: HeldBlocks, first: int, end: int) -> None:
        """Name blocks by the stretches they lie in; they are found from now on."""
        self._changes += 1
        if held.outline is None:
            held.know(self._outlines.of(job))
        outline = held.outline
        assert outline is not None
        firsts, holds = outline.firsts, outline.holds
        stretches, place = held.stretches, bisect_right(firsts, first) - 1
        while first < end:
            while len(stretches) <= place:
                known = len(stretches)
                before = stretches[-1] if stretches else None
                stretches.append(self._stretches.follow((before, firsts[known], holds[known])))
            stop = firsts[place + 1] if place + 1 < len(firsts) else end
            if stop > end:
                stop = end
            held.add(stretches[place], first, stop)
            first = stop
            place += 1

    # What is found

    def _hits(self, job: Job) -> Hits:
        asked = job, job.known_tokens, self._changes
        if self._asked != asked:
            most = (job.known_tokens - 1) // self.block_size
            self._asked, self._found = asked, look_up(self._outlines.of(job), self._stretches, most)
        return self._found


def admission_of(job: Job) -> int:
    """Return a job's place in the order of admissions."""
    return job.admission
