"""KV blocks: how many there are, and which job holds them; kinds that share blocks are in files of their own."""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar, Literal, Protocol

from simulator.replica.content import StreamPieces
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job

PrefixRule = Literal["lpm", "dfs-weight"]


class KvPool(Protocol):
    """Blocks that jobs take and give back. ``job.blocks`` is how many a job outside the decode group holds."""

    total_blocks: int
    block_size: int  # tokens
    free_blocks: int

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        ...

    def release(self, job: Job) -> None:
        """Take all blocks of a job that is not in the decode group back."""
        ...


class CountedBlocks:
    """Blocks that are all alike: a count is enough."""

    __slots__ = ("block_size", "free_blocks", "total_blocks")

    def __init__(self, total_blocks: int, block_size: int) -> None:
        """Have all blocks free."""
        self.total_blocks = self.free_blocks = total_blocks
        self.block_size = block_size

    def take(self, job: Job, blocks: int) -> None:
        """Give a job blocks; there are as many free."""
        self.free_blocks -= blocks
        job.blocks += blocks

    def release(self, job: Job) -> None:
        """Take all blocks of a job that is not in the decode group back."""
        self.free_blocks += job.blocks
        job.blocks = 0


class PrefixCache(KvPool, Protocol):
    """A pool in which requests that begin alike share blocks. The engine tells it of each moment of a step."""

    group_type: ClassVar[type[DecodeGroup]]  # of the engine that has it

    @property
    def can_fast_forward(self) -> bool:
        """Whether steps in which all decode need not be told one by one, from this moment on."""
        ...

    def tell_evicted(self, told: Callable[[StreamPieces, int, int], None]) -> None:
        """Call ``told`` with what a sequence consists of, when tokens from one to another are found no more."""
        ...

    def watch(self, running: Collection[Job], partial: Collection[Job], group: DecodeGroup) -> None:
        """Look at the engine's running jobs, those of them with tokens to compute, and those that decode."""
        ...

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job are found, all but the last at most."""
        ...

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return how many free blocks a waiting job takes to hold its first ``tokens``, those found included."""
        ...

    def prefix_ranks(self, rule: PrefixRule, waiting: Sequence[Job]) -> dict[Job, float]:
        """Return where waiting jobs stand by what is found of them; smallest first."""
        ...

    def begin(self, job: Job) -> int:
        """Give a waiting job what is found of it; return how many tokens that is."""
        ...

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """A chunk of a job is scheduled, and has its blocks."""
        ...

    def decoding(self, blocks: int, seqs: int) -> None:
        """So many requests decode in this step, and have taken that many blocks."""
        ...

    def drafting(self, blocks: int, seqs: int, too_many: int) -> None:
        """So many requests decode with drafts in this step, and have taken that many blocks one by one.

        But for ``too_many`` of them, which tokens after an answer's last take.
        """
        ...

    def grew(self, job: Job, tokens: int) -> None:
        """So many tokens of a job that decodes with drafts are final, after its computed ones; it has their blocks."""
        ...

    def decode_refused(self, blocks: int) -> None:
        """So many blocks were asked for the decode group, and were not free."""
        ...

    def preempted(self) -> None:
        """A running job has given its blocks back."""
        ...

    def seated(self, job: Job) -> None:
        """A job whose KV came from elsewhere begins to decode."""
        ...

    def step_opened(self) -> None:
        """The plan of the next step begins."""
        ...

    def step_planned(self, chunks: Collection[Job]) -> None:
        """The plan of a step is final; these jobs had a chunk in it."""
        ...

    def step_ended(self, completing: Sequence[Job]) -> None:
        """A step ends; what it completed has not left yet."""
        ...

    def fast_forwarded(self, first_tick: int, steps: int, blocks: int, seqs: int) -> None:
        """The decode group has ticked so many times, from a tick on, in steps of which only the last is in flight.

        They took so many ``blocks``, which are not among the free ones any more. In each so many ``seqs`` decoded, of
        which some, in a single step, got a token beyond their last one.
        """
        ...

    def forget(self, job: Job) -> None:
        """A job has left; what it consists of need not be known any more."""
        ...
