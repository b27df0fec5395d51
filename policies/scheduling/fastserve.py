"""FastServe: skip-join multi-level feedback queues, which need no prediction of output lengths."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import merge
from math import ceil, log2

from policies.scheduling._preemption import give_way
from policies.scheduling._ranked import Ranked
from policies.scheduling._step_time import beyond_batch, paying_batch, prompt_token_s, within_batch
from simulator.policy import Job, Ledger, StepShape


@dataclass
class Fastserve(Ranked):
    """Queue k has a quantum of ``quantum_steps``·2^k; lower queues first, each first come first served.

    A request joins the queue whose quantum covers its prompt and sinks by one when it has used its quantum up; one
    that has got nothing for ``starvation_s`` rises to queue 0. The first make up the batch; the others keep their
    KV, which goes to host memory from the last queue up before the blocks are needed.
    Source: Wu et al., "Fast Distributed Inference Serving for LLMs", arXiv 2305.05920, sections 4.1 and 4.2.
    """

    quantum_steps: float = 1.0  # quantum of queue 0, in steps that decode one request
    queues: int = 16  # no request sinks below the last one
    starvation_s: float = 3.0  # time without a token after which a request rises to queue 0
    starvation_steps: int = 1000  # such requests are looked for once in so many steps
    batch_size: int = 0  # most requests in a step; 0: as many as bring the mean completion soonest
    proactive: bool = True  # off: KV is moved only when blocks have run out
    _prompt_token_quanta: float = field(
        default=0.0, init=False
    )  # quanta of queue 0 that a prompt token takes
    _joins: dict[int, tuple[int, float]] = field(
        default_factory=dict, init=False
    )  # queue and quanta of a prompt
    _since_s: dict[Job, float] = field(default_factory=dict, init=False)  # since when they have got nothing
    _risen: dict[Job, int] = field(default_factory=dict, init=False)  # tokens it had when it rose to queue 0

    def rank(self, job: Job) -> float:
        """The number of its queue, which follows from its prompt and the tokens that it has got."""
        generated = job.generated_tokens
        if job in self._risen:
            joined, served = 0, float(generated - self._risen[job])
        else:
            if job.prompt_tokens not in self._joins:
                prompt = self._prompt_token_quanta * job.prompt_tokens
                self._joins[job.prompt_tokens] = max(0, ceil(log2(prompt))) if prompt else 0, prompt
            joined, prompt = self._joins[job.prompt_tokens]
            served = prompt + (generated - 1) / self.quantum_steps if generated else 0.0
        # The quanta of the queues from the one it joined to queue k sum up to 2^(k+1) - 2^joined.
        return min(int(served + 2**joined).bit_length() - 1, self.queues - 1)

    def prepare(self, step: Ledger) -> None:
        """Ask once what tokens cost; raise those who starve."""
        if not self._prompt_token_quanta:
            decode_s = step.price(StepShape(decode_seqs=1, decode_context_tokens=1))
            self._prompt_token_quanta = prompt_token_s(step) / (decode_s * self.quantum_steps)
            self._joins.clear()
            step.sort_waiting(self.rank)
        if step.step % self.starvation_steps == 0:
            self._raise_the_starving(step)

    def queue(self, step: Ledger) -> Iterable[Job]:
        """By queue, those whose KV is in host memory with those who wait."""
        room = step.free_blocks - self._idle_blocks(step) if step.running and self.proactive else None
        back = [job for job in step.swapped if room is None or step.blocks_for(job.known_tokens) <= room]
        return list(merge(sorted(back, key=self.rank), list(step.waiting), key=self.rank))

    def give_way(self, step: Ledger, job: Job, for_job: Job | None = None) -> None:
        """Its KV goes to host memory, where that has room."""
        give_way(step, job, "swap", for_job)

    def would_start(self, step: Ledger, job: Job, starting: list[Job]) -> bool:
        """Whether it would be in the batch."""
        return within_batch(self.rank, step, job, starting, self.batch_size or paying_batch(step))

    def sit_out(self, step: Ledger, starting: list[Job]) -> Collection[Job]:
        """Those in the last queues, beyond the batch."""
        most = self.batch_size or paying_batch(step)
        return beyond_batch(self.stays, self.rank, step, starting, most)

    def plan(self, step: Ledger) -> None:
        """By queue; move the KV that is needed last; note who gets nothing."""
        super().plan(step)
        if self._out and self.proactive and not step.preempted:
            last = sorted(self._out, key=lambda job: (self.rank(job), job.admission), reverse=True)
            for job in last:
                if step.free_blocks >= self._idle_blocks(step) or not step.swap_out(job):
                    break
        for job in [job for job in self._since_s if job in step.running and job not in self._out]:
            del self._since_s[job]
        for jobs in (self._out, step.preempted, step.swapped):
            for job in jobs:
                self._since_s.setdefault(job, step.now_s)

    def _idle_blocks(self, step: Ledger) -> int:
        """How many blocks are kept free for who comes next: one for each request of a batch."""
        return self.batch_size or len(step.running)

    def _raise_the_starving(self, step: Ledger) -> None:
        here = {*step.waiting, *step.running, *step.swapped}
        self._risen = {job: tokens for job, tokens in self._risen.items() if job in here}
        self._since_s = {job: since_s for job, since_s in self._since_s.items() if job in here}
        starving = [
            job
            for jobs in (step.waiting, step.swapped, self._out)
            for job in jobs
            if step.now_s - self._since_s.get(job, job.arrival_s) >= self.starvation_s
        ]
        for job in starving:
            self._risen[job] = job.generated_tokens
            self._since_s[job] = step.now_s
        if starving:
            step.sort_waiting(self.rank)
