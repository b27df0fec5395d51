"""Cascades: a request is asked of one model after another until a judge takes an answer for good.

A call whose answer is turned down has a number of its own, beyond those of the requests, so that its steps are recorded
and its tokens reach no reader. Its request goes on as a new job, which arrived when the request did.
"""

from collections.abc import Callable

from simulator.clock import Clock
from simulator.cluster.deployment import Deployment
from simulator.cluster.intake import Intake
from simulator.cluster.mixed import MixedPools
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState


class Cascades:
    """The calls of all requests under a router that ``cascades``."""

    def __init__(
        self,
        clock: Clock,
        deployment: Deployment,
        mixed: MixedPools,
        intake: Intake,
        ask_next: Callable[[Job], None],
    ) -> None:
        """Turned-down calls are numbered from the workload's requests on; ``ask_next`` places a request's next job."""
        self.number_of: list[int] = []  # the request of each call that is to be turned down
        self.asked_s: list[float] = []  # when it was placed first
        self.turned_down = 0  # that have ended
        assert deployment.grading is not None
        self._first = len(deployment.grading.good)
        self._clock, self._grading, self._mixed = clock, deployment.grading, mixed
        self._intake, self._ask_next = intake, ask_next
        router = deployment.router
        self._judge_error: float = getattr(router, "judge_error", 0.0)
        self._most_calls: int = getattr(router, "most_calls", 0)  # 0: as many as there are models
        self._begun: set[int] = set()

    def begin(self, job: Job, replica: Replica, now_s: float) -> None:
        """A job goes to a replica: whether its answer will be turned down is settled now, and not known yet."""
        if job.id in self._begun:  # a crash brought it here
            return
        asked = self._mixed.ask(job, replica)
        accepted = self._grading.accepted(job.request.row, self._mixed.pool_of(replica), self._judge_error)
        last = len(asked) == self._most_calls or not self._mixed.others(job)
        if not (accepted or last):
            self.number_of.append(job.id)
            self.asked_s.append(now_s)
            job.id = self._first + len(self.number_of) - 1
        self._begun.add(job.id)

    def number(self, job: Job) -> int:
        """Return the number of the request that a job is a call of."""
        return job.id if job.id < self._first else self.number_of[job.id - self._first]

    def goes_on(self, job: Job, state: RequestState, end_s: float) -> bool:
        """A job has ended: have its request's next call begin, if there is one; whether there is."""
        if job.id < self._first or state != RequestState.COMPLETED:
            return False
        self.turned_down += 1
        following = self._intake.job(job.request, self.number(job), job.arrival_s)
        self._clock.at(end_s).callbacks.append(lambda _: self._ask_next(following))
        return True
