"""Jobs that decode together, and which of them fill a block when: what prefix caching by blocks has to know."""

from simulator.replica.decode_group import DecodeGroup
from simulator.replica.job import Job


class PhasedGroup(DecodeGroup):
    """A decode group that also knows which jobs need a new block at which ticks."""

    __slots__ = ("phases",)

    def __init__(self, block_size: int, spans: list[int]) -> None:
        super().__init__(block_size, spans)
        self.phases: list[dict[Job, None]] = [{} for _ in range(block_size)]

    def put(self, job: Job) -> None:
        """As the base class; and note the job's phase."""
        super().put(job)
        self.note(job)

    def note(self, job: Job) -> None:
        """Note the phase of a job that is in the group."""
        if not job.reserved:
            self.phases[(job.joined_tick - job.computed) % self.block_size][job] = None

    def settle(self, job: Job) -> None:
        """As the base class; and forget the job's phase."""
        self.phases[(job.joined_tick - job.computed) % self.block_size].pop(job, None)
        super().settle(job)
