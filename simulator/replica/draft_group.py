"""Jobs that decode with drafts: a step gives each of them its own number of tokens, so they are looped over."""

from typing import ClassVar

from simulator.replica.decode_group import DecodeGroup, rank_of
from simulator.replica.job import Job


class DraftGroup(DecodeGroup):
    """The decode group of an engine that speculates. It never ticks: what its jobs have is written into them.

    ``context_base`` is Σ (computed + 1) over the jobs; ``job.blocks`` is at any time what a job holds;
    ``spans`` stays empty.
    """

    lockstep: ClassVar[bool] = False

    __slots__ = ("_rounds",)

    def __init__(self, block_size: int, spans: list[int]) -> None:
        """``spans`` receives nothing."""
        super().__init__(block_size, spans)
        self._rounds = 0

    @property
    def rounds(self) -> int:
        """In how many steps they have decoded."""
        return self._rounds

    def put(self, job: Job) -> None:
        """Add a job that has its rank."""
        job.group = self
        job.joined_tick = 0
        self.size += 1
        self.context_base += job.computed + 1

    def leave(self, job: Job) -> None:
        """Take out a job."""
        self.size -= 1
        self.context_base -= job.computed + 1
        job.group = None

    def retarget(self, job: Job, target_tokens: int) -> None:
        """Let a job be complete after another number of tokens, more than it has."""
        job.target_tokens = target_tokens

    def grew(self, tokens: int, complete: list[Job]) -> list[Job]:
        """So many tokens were written into jobs; take out those that are complete, and return them by their ranks."""
        self._rounds += 1
        self.context_base += tokens
        for job in complete:
            self.leave(job)
        return sorted(complete, key=rank_of)
