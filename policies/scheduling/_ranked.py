"""What policies share that serve requests in order of a rank."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from heapq import merge
from typing import ClassVar

from simulator.policy import Job, Ledger, Scheduler, StepShape


class Ranked(Scheduler):
    """Every step serves requests by rank, the smallest first, as far as budget, seats and KV blocks go.

    Each gets one token of the budget; prompts share the rest. Blocks for all known tokens are taken at
    admission. A waiting request may take seat and blocks of running ones with worse ranks, which are
    computed again later; when decodes run out of blocks, the worst rank gives its own up.
    """

    preemptive: ClassVar[bool] = True  # off: who runs goes on, whatever its rank

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
        """Return the waiting jobs in the order in which they may start."""
        return list(step.waiting)

    def queue_key(self) -> Callable[[Job], float] | None:
        """By rank."""
        return self.rank

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, all jobs go on."""
        return 0

    def plan(self, step: Ledger) -> None:
        """Make room, let all jobs decode that the budget holds, and go on with prompts or start them."""
        self.prepare(step)
        while _blocks_wanted(step) > step.free_blocks:
            step.preempt(max(step.running, key=lambda job: (self.rank(job), job.admission)))
        starting = [] if step.preempted else self._starting(step)
        if step.group.size + len(step.partial) + len(starting) > step.token_budget:
            self._hold_worst(step, starting)
        step.decode_all()
        going_on = sorted(step.partial, key=self.rank)
        both = merge(going_on, starting, key=self.rank) if self.preemptive else [*going_on, *starting]
        for job in both:
            tokens = min(job.remaining_tokens, step.token_budget)
            if not tokens:
                return
            if job in step.partial:
                step.prefill(job, tokens)
            else:
                step.admit(job, tokens, job.known_tokens)

    def _starting(self, step: Ledger) -> list[Job]:
        """Waiting jobs that can have a seat and blocks now, up to a step full of tokens."""
        jobs: list[Job] = []
        if not step.waiting or not (step.seats or self.preemptive):
            return jobs
        tokens, blocks = 0, _blocks_wanted(step)
        for job in self.queue(step):
            blocks += step.blocks_to_admit(job, job.known_tokens)
            fits = step.seats > len(jobs) and blocks <= step.free_blocks
            if not fits and not self._displace(step, job, len(jobs), blocks):
                break
            jobs.append(job)
            tokens += job.remaining_tokens
            if tokens >= step.token_budget:
                break
        return jobs

    def _displace(self, step: Ledger, job: Job, seats: int, blocks: int) -> bool:
        """Preempt the worst ranks for a waiting job until seats and blocks suffice, or none.

        A job that came back from a preemption stays until its next token, so that none loses its work
        for ever.
        """
        if not self.preemptive:
            return False
        rank, victims = self.rank(job), list[Job]()
        lacking_seats, lacking_blocks = seats + 1 - step.seats, blocks - step.free_blocks
        for other in sorted(step.running, key=self.rank, reverse=True):
            if lacking_seats <= 0 and lacking_blocks <= 0:
                break
            stays = other.preemptions and other in step.partial
            if not stays and rank + self.margin(other) < self.rank(other):
                victims.append(other)
                lacking_seats -= 1
                lacking_blocks -= step.blocks_held(other)
        if lacking_seats > 0 or lacking_blocks > 0:
            return False
        for other in victims:
            step.preempt(other)
        return True

    def _hold_worst(self, step: Ledger, starting: list[Job]) -> None:
        """Let decodes sit this step out whose ranks are too bad for a token of the budget."""
        rivals = [job for job in step.running if not job.completing]  # others need no token any more
        if self.preemptive:
            rivals += starting
        for job in sorted(rivals, key=self.rank)[step.token_budget :]:
            if job in step.running and job not in step.partial:
                step.hold(job)


def _blocks_wanted(step: Ledger) -> int:
    """Blocks that a token for every running job needs."""
    outside = sum(step.blocks_for(job.known_tokens) - step.blocks_held(job) for job in step.partial)
    return step.blocks_opening + outside


def prompt_token_s(step: Ledger) -> float:
    """Return the time a prompt's token takes in a step that is full of them."""
    n = step.limits.max_num_batched_tokens
    full = StepShape(
        prefill_tokens=n, prefill_seqs=1, prefill_attention_pairs=0.5 * n * n, prefill_context_tokens=n
    )
    return step.price(full) / n
