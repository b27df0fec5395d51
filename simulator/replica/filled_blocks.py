"""Which blocks requests fill, and when they can be found: at once, or when the step has ended that fills them.

What an answer fills is written down when its stretch is looked at or the request leaves the decode group, as long as
no other request has that stretch: ``Stretch.grows_by``. Until then it follows from the ticks of the group.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Sequence

from simulator.replica.block_runs import FreeBlocks, Stretch, Stretches
from simulator.replica.content import Content
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.held_blocks import HeldBlocks
from simulator.replica.job import Job
from simulator.replica.outline import Outlines
from simulator.replica.phased_group import PhasedGroup

Fills = list[tuple[Job, int, int]]  # job, block, preemptions when it was filled


class FilledBlocks:
    """Registers blocks of the requests that hold them."""

    __slots__ = (
        "_changes", "_deferred", "_filled", "_fills", "_free", "_group", "_held", "_outlines", "_planned_tick",
        "_running", "_seen_tick", "_stretches", "block_size",
    )  # fmt: skip

    def __init__(
        self,
        total_blocks: int,
        block_size: int,
        content: Callable[[Job], Content],
        *,
        deferred: bool,
        partial_first: bool,
    ) -> None:
        """As ``PrefixBlocks``."""
        self.block_size = block_size
        self._outlines = Outlines(content, block_size)
        self._held: dict[Job, HeldBlocks] = {}  # of each job that has blocks
        self._stretches = Stretches()
        self._free = FreeBlocks(total_blocks, self._stretches, nameless_first=partial_first)
        self._deferred = deferred
        self._filled: Fills = []
        self._fills: deque[tuple[int, Fills]] = (
            deque()
        )  # of each step in flight, with the tick that it ends at
        self._planned_tick = 0  # at which the last planned step ends
        self._seen_tick = 0  # up to which generated tokens are known
        self._changes = 0  # to what is found, and whether it is free

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the running jobs, and at those that decode."""
        assert isinstance(group, PhasedGroup)
        self._running, self._group = running, group
        group.leaves = self._write_down

    # The moments of a step

    def decoding(self, blocks: int, seqs: int) -> None:
        """Give decoding jobs the blocks they open; register those that they fill."""
        self._use(blocks)
        if self._group.size:
            self._fill_at(self._group.tick)

    def decoding_apart(self, blocks: int, filling: Sequence[tuple[Job, int]]) -> None:
        """As ``decoding``, of jobs that are not in the decode group, with the blocks that they fill."""
        self._use(blocks)
        for job, block in filling:
            self._fill(job, block)

    def step_planned(self, chunks: Collection[Job]) -> None:
        """What the step fills is registered when it ends."""
        self._fills.append((self._planned_tick, self._filled))
        self._filled = []

    def step_ended(self, completing: Sequence[Job]) -> None:
        """Register the blocks that the step's tokens filled."""
        tick, fills = self._fills.popleft()
        if self._deferred:
            self._seen_tick = tick
        for job, block, preemptions in fills:
            if job in self._running and job.preemptions == preemptions:
                self._register(job, block, block + 1)

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int, seqs: int) -> None:
        """Do what planning and ending each of these steps does, in that order."""
        if blocks:
            self._use(blocks)
        group, fills = self._group, self._fills
        if group.joined:
            self._let_grow(first_tick)
        last = first_tick + steps
        ended = last - 1 - len(fills)  # the ticks before it end, as many steps as before stay in flight
        for _ in range(min(len(fills), steps - 1)):
            self.step_ended(())
        if ended > first_tick:
            if len(group.growing) < group.size:
                self._register_ticks(first_tick, ended)
            self._seen_tick = ended
        else:
            ended = first_tick
        for tick in range(ended, last):
            self._fill_at(tick)
            self.step_planned(())

    def _register_ticks(self, first_tick: int, end_tick: int) -> None:
        """Register what is filled with the tokens of these ticks, which have ended."""
        phases, size = self._group.phases, self.block_size
        for tick in range(first_tick, end_tick):
            filling = phases[(tick + 1) % size]
            if filling:
                self._seen_tick = tick + 1
                for job in sorted(filling, key=admission_of):
                    block = (job.computed + tick - job.joined_tick) // size
                    self._register(job, block, block + 1)

    def _use(self, blocks: int) -> None:
        """Hand out the blocks at the front of the free queue; what they held is forgotten."""
        if blocks and self._free.use(blocks):
            self._changes += 1

    # What is registered

    def _fill_at(self, tick: int) -> None:
        """Decoding jobs fill blocks with their tokens of a tick."""
        self._planned_tick = tick + 1
        if not self._deferred:
            self._seen_tick = tick + 1
        filling = self._group.phases[(tick + 1) % self.block_size]
        if filling:
            for job in sorted(filling, key=admission_of):
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
        ends = held.ends
        if ends and first == ends[-1] and held.goes_on():  # more of its answer, which no other shares
            held.runs[-1].end = ends[-1] = end
            self._changes += 1
        elif ends and first < ends[-1]:
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
                follows = self._stretches.follow((before, firsts[known], holds[known]))
                stretches.append(follows)
                if follows.grows_by is not None:
                    self._look_at(follows)
            stop = firsts[place + 1] if place + 1 < len(firsts) else end
            if stop > end:
                stop = end
            held.add(stretches[place], first, stop)
            first = stop
            place += 1

    # What is written down later

    def _let_grow(self, tick: int) -> None:
        """From this tick on, do not register block by block any more what decoding jobs fill that no other has.

        Not yet where no block can be found, or one is not registered that is full by then.
        """
        group, size = self._group, self.block_size
        for job in list(group.joined):
            held = self._held[job]
            if not held.runs or held.ends[-1] != (job.computed + tick - job.joined_tick) // size:
                continue
            del group.joined[job]
            stretch = held.stretches[-1]
            if stretch.uses == 1 and stretch.grows_by is None and held.is_last(stretch):
                stretch.grows_by = job
                held.runs[-1].alone = False
                group.grow(job)
                self._changes += 1

    def _look_at(self, stretch: Stretch) -> None:
        """Have in a stretch, and after it, all that is there; from now on it is registered block by block."""
        job = stretch.grows_by
        assert job is not None
        self._write_down(job)
        self._group.note(job)

    def _write_down(self, job: Job) -> None:
        """Register what a job has filled since it began to grow, once the steps have ended that do so."""
        held, at = self._held[job], job.computed - job.joined_tick
        del self._group.growing[job]
        stretch = held.stretches[-1]
        stretch.grows_by = None
        held.runs[-1].alone = len(stretch.runs) == 1
        first, end = held.ends[-1], (at + self._seen_tick) // self.block_size
        if first < end:
            self._register(job, first, end)
        for tick in range(max(self._seen_tick, job.joined_tick) + 1, self._planned_tick + 1):
            if (at + tick) % self.block_size == 0:
                step = (fills for end_tick, fills in self._fills if end_tick >= tick)
                block = (at + tick) // self.block_size - 1
                next(step, self._filled).append((job, block, job.preemptions))


def admission_of(job: Job) -> int:
    """Return a job's place in the order of admissions."""
    return job.admission
