"""What becomes of the requests of a replica that crashes: they start anew elsewhere, as often as they may."""

from collections.abc import Callable

from simulator.cluster.courier import Courier
from simulator.cluster.hand_off import HandOffs
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState


class Recovery:
    """Brings the requests that a crash hits on; each may be hit ``retries`` times before it fails."""

    def __init__(
        self,
        retries: int,
        courier: Courier | None,
        hand_offs: HandOffs | None,
        *,
        place: Callable[[Job], object],
        refuse: Callable[[Job, RequestState], None],
        leave: Callable[[Job, RequestState], None],
        call_off: Callable[[Job], None],
    ) -> None:
        """``place`` brings a job to a replica, ``refuse`` ends one that is nowhere, ``leave`` one that is somewhere.

        ``call_off`` ends the transfers of a job.
        """
        self.retries = retries
        self.courier = courier
        self.hand_offs = hand_offs
        self._place, self._refuse, self._leave, self._call_off = place, refuse, leave, call_off
        self._crashes: dict[Job, int] = {}  # that hit a request

    def crash(self, replica: Replica) -> None:
        """A replica loses its memory: end its transfers, and place its requests anew."""
        halted = [] if self.courier is None else self.courier.touching(replica)
        for transfer in halted:
            self._call_off(transfer.job)
        jobs = replica.crash()
        for job in jobs:
            self._call_off(job)
        for transfer in halted:
            job, source = transfer.job, transfer.source
            if source is replica or job.state is not JobState.SENDING:
                continue
            if transfer.kind == "migration":
                assert self.courier is not None
                self.courier.stay(job, source)
            elif self._may_retry(job):
                assert self.hand_offs is not None
                self.hand_offs.offer(job, source)
            else:
                self._leave(job, RequestState.FAILED)
        for job in sorted(jobs, key=lambda job: job.id):
            job.replica = None
            if self._may_retry(job):
                self._place(job)
            else:
                self._refuse(job, RequestState.FAILED)

    def _may_retry(self, job: Job) -> bool:
        """Count one more crash that hit a request; False if it is one too many."""
        self._crashes[job] = self._crashes.get(job, 0) + 1
        return self._crashes[job] <= self.retries
