"""Jobs that decode together, kept as sums instead of a loop over them."""

from array import array
from collections.abc import Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import ClassVar

from simulator.replica.job import Job

rank_of = attrgetter("rank")


class DecodeGroup:
    """Jobs that decode in lockstep: one token each at every tick.

    Everything a step needs of them is a sum that changes only when a job joins or leaves, so a
    tick costs the same for one job and for a thousand. ``tick`` counts the ticks done.
    """

    lockstep: ClassVar[bool] = True  # whether each of them gets one token a round

    __slots__ = (
        "_ends", "_joined", "block_size", "context_base", "last_ticks", "openers", "size", "spans", "tick",
    )  # fmt: skip

    def __init__(self, block_size: int, spans: list[int]) -> None:
        """``spans`` receives job id, first tick, tokens (flat) of each job that leaves."""
        self.block_size = block_size
        self.spans = spans
        self.tick = 0
        self.size = 0
        self.context_base = 0  # Σ (computed + 1) over the jobs, less size·tick
        self.openers = (
            array("i", [0]) * block_size
        )  # jobs that need a new block at ticks ≡ index (mod block size)
        self.last_ticks: dict[int, list[Job]] = {}  # tick count after which these jobs are complete
        self._joined = 0  # ranks given so far
        self._ends: list[int] = []  # a heap of these tick counts, and of some that are over

    def go_on_from(self, other: "DecodeGroup") -> None:
        """Be what another group is, with its jobs, which do not know yet."""
        self.tick, self.size, self.context_base = other.tick, other.size, other.context_base
        self.openers, self.last_ticks = other.openers, other.last_ticks
        self._joined, self._ends = other.ranks_given, other.end_ticks

    def go_on_at(self, ranks: int) -> None:
        """Have given so many ranks, and nothing that is over to keep, while there is no job."""
        self._joined = ranks
        self._ends.clear()

    @property
    def rounds(self) -> int:
        """In how many steps they have decoded."""
        return self.tick

    @property
    def ranks_given(self) -> int:
        """How many ranks were given so far."""
        return self._joined

    @property
    def end_ticks(self) -> list[int]:
        """A heap of the ticks after which jobs are complete, and of some that are over."""
        return self._ends

    def context_tokens(self) -> int:
        """Σ computed + 1 over the group: the tokens that its next tick attends to."""
        return self.context_base + self.size * self.tick

    def join(self, job: Job) -> None:
        """Add a job whose prompt is computed and that has at least one token to go."""
        self._joined += 1
        job.rank = self._joined
        job.recomputes = False
        self.put(job)

    def retarget(self, job: Job, target_tokens: int) -> None:
        """Let a job be complete after another number of tokens, more than it has; its rank stays."""
        self.leave(job)
        job.target_tokens = target_tokens
        self.put(job)
        self.last_ticks[self.tick + target_tokens - job.generated].sort(key=rank_of)

    def put(self, job: Job) -> None:
        """Add a job that has its rank."""
        tick = self.tick
        shift = tick - job.computed
        job.group = self
        job.joined_tick = tick
        self.size += 1
        self.context_base += 1 - shift
        if not job.reserved:
            self.openers[shift % self.block_size] += 1
        last_tick = tick + job.target_tokens - job.generated
        jobs = self.last_ticks.get(last_tick)
        if jobs is None:
            self.last_ticks[last_tick] = [job]
            heappush(self._ends, last_tick)
        else:
            jobs.append(job)

    def next_end(self) -> int:
        """Return the tick count after which a job is complete; there is one."""
        ends, last_ticks = self._ends, self.last_ticks
        while ends[0] not in last_ticks:
            heappop(ends)
        return ends[0]

    def finished(self) -> list[Job]:
        """Take out and return the jobs whose last token came with the tick just done."""
        jobs = self.last_ticks.pop(self.tick, None)
        if jobs is None:
            return []
        for job in jobs:
            self.settle(job)
        return jobs

    def leave(self, job: Job) -> None:
        """Take out a job before it is complete."""
        last_tick = job.joined_tick + job.target_tokens - job.generated
        jobs = self.last_ticks[last_tick]
        jobs.remove(job)
        if not jobs:
            del self.last_ticks[last_tick]
        self.settle(job)

    def rank(self, jobs: Sequence[Job]) -> None:
        """Let those of these jobs that complete at the same tick do so in this order, after all others."""
        for job in jobs:
            self._joined += 1
            job.rank = self._joined
        for together in self.last_ticks.values():
            if len(together) > 1:
                together.sort(key=rank_of)

    def take_back(self, job: Job) -> bool:
        """Take the token of the last tick from the record of a job that is no longer in; False if it got none."""
        spans = self.spans
        for row in range(len(spans) - 3, -1, -3):
            request, joined, ticks = spans[row : row + 3]
            if joined + ticks < self.tick:
                break
            if request == job.id:
                spans[row : row + 3] = (request, joined, ticks - 1) if ticks > 1 else ()
                return True
        return False

    def settle(self, job: Job) -> None:
        """Write the ticks since joining into the job and the record."""
        joined = job.joined_tick
        shift = joined - job.computed
        self.size -= 1
        self.context_base -= 1 - shift
        ticks = self.tick - joined
        if ticks:
            self.spans.extend((job.id, joined, ticks))
        job.generated += ticks
        job.computed += ticks
        job.group = None
        if not job.reserved:
            self.openers[shift % self.block_size] -= 1
            job.blocks = -(-job.computed // self.block_size)
