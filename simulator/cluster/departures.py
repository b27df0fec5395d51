"""Requests that leave before they are complete: their clients give up, or the system drops them."""

import math
from collections.abc import Callable

from simulator.clock import Clock
from simulator.cluster.answers import leaves_s
from simulator.cluster.hand_off import HandOffs
from simulator.cluster.kv_transfers import KvTransfers
from simulator.cluster.policy import Abandonment
from simulator.replica.job import Job, JobState
from simulator.replica.request import RequestState


class Departures:
    """Has requests leave at the time that their clients or the abandonment policy set."""

    def __init__(
        self,
        clock: Clock,
        policy: Abandonment | None,
        take_back: Callable[[Job], None],
        refuse: Callable[[Job, RequestState], None],
        kv_transfers: KvTransfers | None,
        hand_offs: HandOffs | None,
    ) -> None:
        """``take_back`` is called with a job that no replica has, and that leaves; ``refuse`` ends it."""
        self.clock = clock
        self.policy = policy
        self.take_back = take_back
        self.refuse = refuse
        self.kv_transfers = kv_transfers
        self.hand_offs = hand_offs

    def watch(self, job: Job) -> None:
        """A request has arrived: have it leave when its client gives up or the system would drop it."""
        request = job.request
        if request.leave_s == request.leave_s:  # not NaN
            # Where a closed loop delays the arrival, the departure comes as much later.
            leave_s = max(request.leave_s + (job.arrival_s - request.arrival_s), job.arrival_s)
            self._expect(job, leave_s)
        if self.policy is not None:
            self._look_later(self.policy, job)

    def _expect(self, job: Job, leave_s: float) -> None:
        def give_up(_: object) -> None:
            self.leave(job, RequestState.ABANDONED_BY_USER)

        self.clock.at(leave_s).callbacks.append(give_up)

    def _look_later(self, policy: Abandonment, job: Job) -> None:
        """Look at a request again when the system would drop it."""
        tokens = delivered(job)
        drop_s = leaves_s(policy, job, tokens)
        if drop_s < math.inf:

            def look(_: object) -> None:
                if job.state is JobState.ENDED:
                    return
                if delivered(job) > tokens:
                    self._look_later(policy, job)
                else:
                    self.leave(job, RequestState.ABANDONED_BY_SYSTEM)

            # After the step that may end at this very instant
            self.clock.last_at(max(drop_s, self.clock.now)).callbacks.append(look)

    def leave(self, job: Job, state: RequestState) -> None:
        """Take a job out, wherever it is."""
        if job.state is JobState.UNPLACED:
            self.take_back(job)
            self.refuse(job, state)
            return
        replica = job.replica
        if replica is None:
            return
        self.call_off(job)
        transfers = replica.engine.transfers
        if job.state is JobState.SENDING:
            transfers.end_in_transit(job, state, self.clock.now)
            replica.wake()
        else:
            replica.leave(job, state)

    def call_off(self, job: Job) -> None:
        """A job does not go where it was to go."""
        if self.kv_transfers is not None:
            self.kv_transfers.cancel(job)
        if self.hand_offs is not None:
            self.hand_offs.forget(job)


def delivered(job: Job) -> int:
    """Return how many tokens of a request have been computed by steps that have ended."""
    undelivered = 0 if job.replica is None else job.replica.undelivered_tokens(job)
    return job.generated_tokens - undelivered
