"""What becomes of the requests of a replica that crashes: they start anew elsewhere, as often as they may."""

from collections.abc import Callable

from simulator.cluster.departures import Departures
from simulator.cluster.hand_off import HandOffs
from simulator.cluster.kv_transfers import KvTransfers
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState


class Recovery:
    """Brings the requests that a crash hits on; each may be hit ``retries`` times before it fails."""

    def __init__(
        self,
        retries: int,
        departures: Departures,
        kv_transfers: KvTransfers | None,
        hand_offs: HandOffs | None,
        place: Callable[[Job], object],
        refuse: Callable[[Job, RequestState], None],
    ) -> None:
        """``place`` brings a job to a replica, ``refuse`` ends one that is nowhere."""
        self.retries = retries
        self.departures = departures
        self.kv_transfers = kv_transfers
        self.hand_offs = hand_offs
        self.place, self.refuse = place, refuse

    def crash(self, replica: Replica) -> None:
        """A replica loses its memory: end its transfers, and place its requests anew."""
        halted = [] if self.kv_transfers is None else self.kv_transfers.touching(replica)
        for transfer in halted:
            self.departures.call_off(transfer.job)
        jobs = replica.crash()
        for job in jobs:
            self.departures.call_off(job)
        for transfer in halted:
            job, source = transfer.job, transfer.source
            if source is replica or job.state is not JobState.SENDING:
                continue
            if transfer.kind == "migration":
                assert self.kv_transfers is not None
                self.kv_transfers.stay(job, source)
            elif self._may_retry(job):
                assert self.hand_offs is not None
                self.hand_offs.offer(job, source)
            else:
                self.departures.leave(job, RequestState.FAILED)
        for job in sorted(jobs, key=lambda job: job.id):
            job.replica = None
            if self._may_retry(job):
                self.place(job)
            else:
                self.refuse(job, RequestState.FAILED)

    def _may_retry(self, job: Job) -> bool:
        """Count one more crash that hit a request; False if it is one too many."""
        job.crashes += 1
        return job.crashes <= self.retries
