"""Prefix caching with vLLM's block semantics: equal beginnings share full KV blocks.

A full block is known by everything from the sequence's first token to the block's end (a chained hash).
Blocks are found again when a request is admitted, registered as soon as the tokens that fill them are
scheduled, and stay findable after they are freed until they are handed out anew, least recently freed
first. The last token of a request is always computed, so at most all full blocks before it are reused.

All of it is done by runs of blocks (``block_runs.py``): a prompt of thousands of blocks is looked up, registered, freed
and evicted in a few moves. What happens is what would happen block by block.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from simulator.replica.block_runs import Stretch, pieces_up_to
from simulator.replica.content import Content, StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.filled_blocks import FilledBlocks
from simulator.replica.held_blocks import HeldBlocks, Hits, look_up
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule
from simulator.replica.phased_group import PhasedGroup


class PrefixBlocks(FilledBlocks):
    """Numbered blocks, so that freed ones can be found again (a ``PrefixCache``)."""

    __slots__ = ("_asked", "_found", "free_blocks", "total_blocks")

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
        super().__init__(total_blocks, block_size, content, deferred=deferred, partial_first=partial_first)
        self.total_blocks = self.free_blocks = total_blocks
        self._asked: tuple[Job, int, int] | None = None  # the last look-up, and what it found
        self._found = Hits([], [], 0, 0)

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
        held.hold_all(hits.runs, self._free)
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

    def _hits(self, job: Job) -> Hits:
        asked = job, job.known_tokens, self._changes
        if self._asked != asked:
            most = (job.known_tokens - 1) // self.block_size
            self._asked, self._found = (
                asked,
                look_up(self._outlines.of(job), self._stretches, most, self._look_at),
            )
        return self._found
