"""What policies share that serve requests in order of a rank."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from heapq import merge
from typing import ClassVar

from simulator.policy import Job, Ledger, Scheduler


class Ranked(Scheduler):
    """Every step serves requests by rank, the smallest first, as far as budget, seats and KV blocks go.

    Each gets one token of the budget; prompts share the rest. Blocks for all known tokens are taken at
    admission. A waiting request may take those of running ones with worse ranks; when decodes run out of
    blocks, the worst rank gives its own up. Some may sit a step out.
    """

    preemptive: ClassVar[bool] = True  # off: who runs goes on, whatever its rank
    _out: Collection[Job] = ()  # who sat the last step out

    @abstractmethod
    def rank(self, job: Job) -> float:
        """Return a job's rank; that of a waiting one may change in ``prepare`` only, which then sorts again."""

    def margin(self, job: Job) -> float:
        """Return by how much a waiting job's rank must be better for a running ``job`` to give way."""
        return 0.0

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def prepare(self, step: Ledger) -> None:
        """Do what is to be done before a step is planned."""

    def queue(self, step: Ledger) -> Iterable[Job]:
        """Return the jobs that do not run, in the order in which they may start."""
        return list(step.waiting)

    def queue_key(self) -> Callable[[Job], float] | None:
        """By rank."""
        return self.rank

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, and none sitting out, all jobs go on."""
        return 0

    def give_way(self, step: Ledger, job: Job, for_job: Job | None = None) -> None:
        """Take all blocks of a running job, to let ``for_job`` ahead or because others lack blocks."""
        step.preempt(job, for_job=for_job)

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """Return who of those who run gets nothing of this step; take out of ``starting`` who does not start.

        Asked only while jobs wait, compute their prompts or have sat out.
        """
        return ()

    def would_start(self, step: Ledger, job: Job, starting: list[Job]) -> bool:
        """Whether ``sit_out`` would leave a job among those that start: else no other gives way to it."""
        return True

    def plan(self, step: Ledger) -> None:
        """Make room, let all jobs decode that the step is to hold, and go on with prompts or start them."""
        self.prepare(step)
        while _blocks_wanted(step) > step.free_blocks:
            self.give_way(step, max(step.running, key=lambda job: (self.rank(job), job.admission)))
        starting = [] if step.preempted else self._starting(step)
        out = self.sit_out(step, starting) if starting or step.waiting or step.partial else ()
        self._out = out
        for job in out:
            if job not in step.partial:
                step.hold(job)
        computing = [job for job in step.partial if job not in out] if out else list(step.partial)
        if step.group.size + len(computing) + len(starting) > step.token_budget:
            self._hold_worst(step, starting, out)
            computing = [job for job in step.partial if job not in out]
        while not step.decode_all():  # fewer requests may have more drafts each
            self.give_way(step, max(step.running, key=lambda job: (self.rank(job), job.admission)))
            computing = [job for job in computing if job in step.partial]
        computing.sort(key=self.rank)
        both = merge(computing, starting, key=self.rank) if self.preemptive else [*computing, *starting]
        for job in both:
            tokens = min(job.remaining_tokens, step.token_budget)
            if not tokens:
                return
            if job in step.partial:
                step.prefill(job, tokens)
            elif job in step.swapped:
                step.swap_in(job, tokens)
            else:
                step.admit(job, tokens, job.known_tokens)

    def stays(self, step: Ledger, job: Job) -> bool:
        """Whether a running job came back from a preemption and keeps its place until it has its next token."""
        return job.preemptions > 0 and job in step.partial and job not in self._out

    def _starting(self, step: Ledger) -> list[Job]:
        """Jobs that do not run and can have a seat and blocks now, up to a step full of tokens."""
        jobs: list[Job] = []
        if not (step.waiting or step.swapped) or not (step.seats or self.preemptive):
            return jobs
        tokens, blocks = 0, _blocks_wanted(step)
        for job in self.queue(step):
            blocks += step.blocks_to_admit(job, job.known_tokens)
            fits = step.seats > len(jobs) and blocks <= step.free_blocks
            if not fits and not (
                self.would_start(step, job, jobs) and self._displace(step, job, len(jobs), blocks)
            ):
                break
            jobs.append(job)
            tokens += job.remaining_tokens
            if tokens >= step.token_budget:
                break
        return jobs

    def _displace(self, step: Ledger, job: Job, seats: int, blocks: int) -> bool:
        """Have the worst ranks give way to a waiting job until seats and blocks suffice, or none."""
        if not self.preemptive:
            return False
        rank, victims = self.rank(job), list[Job]()
        lacking_seats, lacking_blocks = seats + 1 - step.seats, blocks - step.free_blocks
        for other in sorted(step.running, key=lambda job: (self.rank(job), job.admission), reverse=True):
            if lacking_seats <= 0 and lacking_blocks <= 0:
                break
            if not self.stays(step, other) and rank + self.margin(other) < self.rank(other):
                victims.append(other)
                lacking_seats -= 1
                lacking_blocks -= step.blocks_held(other)
        if lacking_seats > 0 or lacking_blocks > 0:
            return False
        for other in victims:
            self.give_way(step, other, job)
        return True

    def _hold_worst(self, step: Ledger, starting: list[Job], out: Collection[Job]) -> None:
        """Let decodes sit this step out whose ranks are too bad for a token of the budget."""
        rivals = [job for job in step.running if not job.completing and job not in out]
        if self.preemptive:
            rivals += starting
        for job in sorted(rivals, key=self.rank)[step.token_budget :]:
            if job in step.running and job not in step.partial:
                step.hold(job)


def _blocks_wanted(step: Ledger) -> int:
    """Blocks that a token for every running job needs; one that had drafts may hold more than it needs."""
    outside = sum(max(0, step.blocks_for(job.known_tokens) - step.blocks_held(job)) for job in step.partial)
    return step.blocks_opening + outside
