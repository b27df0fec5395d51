"""FastServe: skip-join multi-level feedback queues, which need no prediction of output lengths."""

from dataclasses import dataclass, field
from math import ceil, floor, log2

from policies.scheduling._ranked import Ranked, prompt_token_s
from simulator.policy import Job, Ledger, StepShape


@dataclass
class Fastserve(Ranked):
    """Queue k has a quantum of ``quantum_steps``·2^k; lower queues first, each first come first served.

    A request joins the queue whose quantum covers its prompt and sinks by one when it has used its quantum
    up; one that has waited for ``starvation_s`` rises to queue 0. Preempted KV is computed again, not swapped.
    Source: Wu et al., "Fast Distributed Inference Serving for LLMs", arXiv 2305.05920, section 4.1.
    """

    quantum_steps: float = 1.0  # quantum of queue 0, in steps that decode one request
    queues: int = 16  # no request sinks below the last one
    starvation_s: float = 10.0  # time in the waiting queue after which a request rises to queue 0
    _prompt_token_quanta: float = field(
        default=0.0, init=False
    )  # quanta of queue 0 that a prompt token takes
    _since_s: dict[Job, float] = field(default_factory=dict, init=False)  # when preempted or risen, if it was
    _risen: dict[Job, int] = field(default_factory=dict, init=False)  # tokens it had when it rose to queue 0
    _next_look_s: float = field(default=0.0, init=False)  # no request starves before

    def rank(self, job: Job) -> float:
        """The number of its queue, which follows from its prompt and the tokens that it has got."""
        risen_at = self._risen.get(job)
        if risen_at is not None:
            joined, served = 0, float(job.generated_tokens - risen_at)
        else:
            prompt = self._prompt_token_quanta * job.prompt_tokens
            joined = max(0, ceil(log2(prompt))) if prompt else 0
            served = prompt + (job.generated_tokens - 1) / self.quantum_steps if job.generated_tokens else 0.0
        # The quanta of the queues from the one it joined to queue k sum up to 2^(k+1) - 2^joined.
        return min(floor(log2(served + 2**joined)), self.queues - 1)

    def prepare(self, step: Ledger) -> None:
        """Ask once what tokens cost; raise those who starve."""
        if not self._prompt_token_quanta:
            decode_s = step.price(StepShape(decode_seqs=1, decode_context_tokens=1))
            self._prompt_token_quanta = prompt_token_s(step) / (decode_s * self.quantum_steps)
            step.sort_waiting(self.rank)
        if step.waiting and step.now_s >= self._next_look_s:
            self._raise_the_starving(step)

    def plan(self, step: Ledger) -> None:
        """By queue; note who is sent back to wait."""
        super().plan(step)
        for job in step.preempted:
            self._since_s[job] = step.now_s

    def _raise_the_starving(self, step: Ledger) -> None:
        here = {*step.waiting, *step.running}
        self._since_s = {job: since for job, since in self._since_s.items() if job in here}
        self._risen = {job: tokens for job, tokens in self._risen.items() if job in here}
        first_s, starving = step.now_s, list[Job]()
        for job in step.waiting:
            since_s = self._since_s.get(job, job.arrival_s)
            if step.now_s - since_s < self.starvation_s:
                first_s = min(first_s, since_s)
            else:
                starving.append(job)
        for job in starving:
            self._risen[job] = job.generated_tokens
            self._since_s[job] = step.now_s
        if starving:
            step.sort_waiting(self.rank)
        # Where many starve, not at every step: looking at all jobs takes long.
        self._next_look_s = max(first_s + self.starvation_s, step.now_s + 0.1 * self.starvation_s)
