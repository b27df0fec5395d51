"""Jobs that decode together, and which of them fill a block when: what prefix caching by blocks has to know."""

from collections.abc import Callable

from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job


class PhasedGroup(DecodeGroup):
    """A decode group that also knows which jobs need a new block at which ticks.

    But for jobs that grow: what they fill is worked out when it is asked for.
    """

    __slots__ = ("growing", "joined", "leaves", "phases")

    def __init__(self, block_size: int, spans: list[int]) -> None:
        super().__init__(block_size, spans)
        self.phases: list[dict[Job, None]] = [{} for _ in range(block_size)]
        self.joined: dict[Job, None] = {}  # that may grow, which has not been decided
        self.growing: dict[Job, None] = {}
        self.leaves: Callable[[Job], None] | None = None  # told before one of those leaves

    def put(self, job: Job) -> None:
        """As the base class; and note the job's phase."""
        super().put(job)
        if not job.reserved:
            self.joined[job] = None
            self.note(job)

    def note(self, job: Job) -> None:
        """Note the phase of a job that is in the group, and does not grow."""
        if not job.reserved:
            self.phases[(job.joined_tick - job.computed) % self.block_size][job] = None

    def grow(self, job: Job) -> None:
        """Let a job grow."""
        del self.phases[(job.joined_tick - job.computed) % self.block_size][job]
        self.growing[job] = None

    def settle(self, job: Job) -> None:
        """As the base class; and forget the job's phase."""
        if job in self.growing:
            assert self.leaves is not None
            self.leaves(job)
        else:
            self.phases[(job.joined_tick - job.computed) % self.block_size].pop(job, None)
            self.joined.pop(job, None)
        super().settle(job)
