"""Virtual token counters: of those who wait, the tenant that has been served least starts next."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from policies.scheduling._ranked import Ranked
from simulator.policy import Job, Ledger


@dataclass
class Vtc(Ranked):
    """Each tenant's counter grows by w_p a prompt token, at admission, and by w_q a generated one.

    The waiting tenant with the smallest counter starts its oldest request. One that comes back to the queue
    is lifted to the smallest counter there, or to that of the tenant that left it last: idling earns nothing.
    Source: Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, section 4.1, algorithm 2.
    """

    preemptive = False

    w_p: float = 1.0  # what a token of the prompt counts
    w_q: float = 2.0  # what a generated token counts
    _counters: dict[int, float] = field(default_factory=dict, init=False)
    _counted: dict[Job, int] = field(
        default_factory=dict, init=False
    )  # tokens of running jobs, counted so far
    _queued: set[int] = field(default_factory=set, init=False)  # tenants that the last plan left waiting
    _left_last: int | None = field(default=None, init=False)  # tenant that left the queue last

    def rank(self, job: Job) -> float:
        """Its tenant's counter."""
        return self._counters.get(job.tenant, 0.0)

    def queue_key(self) -> None:
        """First come, first served; the counters choose between tenants."""
        return

    def queue(self, step: Ledger) -> Iterator[Job]:
        """Yield the oldest job of the least served tenant, as if those yielded before had started."""
        jobs: dict[int, deque[Job]] = {}
        for job in step.waiting:
            jobs.setdefault(job.tenant, deque()).append(job)
        counters = {tenant: self._counters[tenant] for tenant in jobs}
        while jobs:
            tenant = min(jobs, key=counters.__getitem__)
            job = jobs[tenant].popleft()
            if not jobs[tenant]:
                del jobs[tenant]
            yield job
            counters[tenant] += self._price(job)

    def plan(self, step: Ledger) -> None:
        """Bring the counters up to date, plan by them, and count who has started."""
        if step.waiting:
            self._count_generated(step)
            self._lift(step)
        super().plan(step)
        for job in reversed(step.running):
            if job in self._counted:
                break
            self._counters[job.tenant] = self.rank(job) + self._price(job)
            self._counted[job] = job.generated_tokens
            self._left_last = job.tenant
        self._queued = {job.tenant for job in step.waiting}

    def _price(self, job: Job) -> float:
        """What a job's start counts; what was computed before a preemption is not counted again."""
        return 0.0 if job.preemptions else self.w_p * job.prompt_tokens

    def _count_generated(self, step: Ledger) -> None:
        """Count the tokens generated since the last time, also of those who have ended."""
        for job, counted in self._counted.items():
            self._counters[job.tenant] += self.w_q * (job.generated_tokens - counted)
        self._counted = {job: job.generated_tokens for job in self._counted if job in step.running}

    def _lift(self, step: Ledger) -> None:
        """Give tenants that are new in the queue the smallest counter there, if theirs is smaller."""
        queued = {job.tenant for job in step.waiting} & self._queued & self._counters.keys()
        for job in step.waiting:
            if job.tenant not in queued:
                floor = min((self._counters[tenant] for tenant in queued), default=self._floor())
                self._counters[job.tenant] = max(self.rank(job), floor)
                queued.add(job.tenant)

    def _floor(self) -> float:
        return 0.0 if self._left_last is None else self._counters[self._left_last]
