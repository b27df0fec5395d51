"""A prefix cache that hands everything on to another one: what stands before a cache is built on it."""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from simulator.replica.content import StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job
from simulator.replica.kv import PrefixCache, PrefixRule
from simulator.replica.phased_group import PhasedGroup


class CacheAbove:
    """A ``PrefixCache`` above another one, whose blocks are those of the GPU."""

    group_type: ClassVar[type[DecodeGroup]] = PhasedGroup

    def __init__(self, gpu: PrefixCache) -> None:
        self.total_blocks, self.block_size = gpu.total_blocks, gpu.block_size
        self._gpu = gpu

    @property
    def can_fast_forward(self) -> bool:
        """Whether steps in which all decode need not be told one by one."""
        return self._gpu.can_fast_forward

    @property
    def free_blocks(self) -> int:
        """Of the GPU."""
        return self._gpu.free_blocks

    @free_blocks.setter
    def free_blocks(self, blocks: int) -> None:
        """Set those of the GPU."""
        self._gpu.free_blocks = blocks

    def tell_evicted(self, told: Callable[[StreamPieces, int, int], None]) -> None:
        """Tell what the GPU loses."""
        self._gpu.tell_evicted(told)

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job are found."""
        return self._gpu.cached_tokens(job)

    def begin(self, job: Job) -> int:
        """Give a waiting job what is found of it."""
        return self._gpu.begin(job)

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """A chunk is scheduled."""
        self._gpu.chunk(job, first_token, tokens)

    def step_ended(self, completing: Sequence[Job]) -> None:
        """A step ends."""
        self._gpu.step_ended(completing)

    def release(self, job: Job) -> None:
        """Take a job's blocks back."""
        self._gpu.release(job)

    def forget(self, job: Job) -> None:
        """A job has left."""
        self._gpu.forget(job)

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the running jobs."""
        self._gpu.watch(running, partial, group)

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many free blocks of the GPU a waiting job takes, for what is fetched too."""
        return self._gpu.blocks_to_admit(job, tokens)

    def prefix_ranks(self, rule: PrefixRule, waiting: Sequence[Job]) -> dict[Job, float]:
        """Return where waiting jobs stand by what the GPU has of them."""
        return self._gpu.prefix_ranks(rule, waiting)

    def decoding(self, blocks: int, seqs: int) -> None:
        """So many decode."""
        self._gpu.decoding(blocks, seqs)

    def drafting(self, blocks: int, seqs: int, too_many: int) -> None:
        """So many decode with drafts."""
        self._gpu.drafting(blocks, seqs, too_many)

    def grew(self, job: Job, tokens: int) -> None:
        """So many tokens are final."""
        self._gpu.grew(job, tokens)

    def decode_refused(self, blocks: int) -> None:
        """Blocks were not free."""
        self._gpu.decode_refused(blocks)

    def preempted(self) -> None:
        """A job has given its blocks back."""
        self._gpu.preempted()

    def seated(self, job: Job) -> None:
        """A job came with its KV."""
        self._gpu.seated(job)

    def step_opened(self) -> None:
        """A plan begins."""
        self._gpu.step_opened()

    def step_planned(self, chunks: Collection[Job]) -> None:
        """A plan is final."""
        self._gpu.step_planned(chunks)

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int, seqs: int) -> None:
        """Steps in which all decode."""
        self._gpu.fast_forwarded(first_tick, steps, blocks, seqs)

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks of the GPU."""
        self._gpu.take(job, blocks)
