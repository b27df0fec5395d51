"""vLLM's V0 scheduler: whole prompts first, in steps of their own; or, chunked, decodes first."""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

from simulator.policy import Job, Ledger, Scheduler, check_share

_arrival = attrgetter("arrival_s")


@dataclass
class VllmV0(Scheduler):
    """As long as a waiting prompt fits, a step computes prompts only, and decodes wait.

    When KV blocks run out, the latest arrivals give theirs up, to be computed again or (``swap``) kept in
    host memory; while any is there, no prompt starts. A request that could never fit is refused. With
    chunked prefill, running requests go first and prompts fill the step up.
    Source: vLLM 0.5.3.post1, vllm/core/scheduler.py, one sequence a request.
    """

    enable_chunked_prefill: bool = False  # running requests first, chunks of prompts fill the step up
    preemption_mode: Literal["recompute", "swap"] = "recompute"  # swap: into engine.swap_space of the host
    scheduler_delay_factor: float = 0.0  # let prompts gather for this many times the last prompts' latency
    watermark: float = 0.01  # share of KV blocks that admission leaves free
    _prompts_at_s: float | None = field(default=None, init=False)  # when prompts were started, if just before
    _prompt_latency_s: float = field(default=0.0, init=False)
    _order: list[Job] = field(default_factory=list, init=False)  # the engine's running list

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def splits_prompts(self) -> bool:
        """Whether prompts are computed in chunks."""
        return self.enable_chunked_prefill

    def decides_each_step(self) -> bool:
        """The delay factor has to know how long the last prompts took."""
        return bool(self.scheduler_delay_factor)

    def native_engine(self) -> str:
        """The version that was recorded."""
        return "vllm-0.5"

    def fast_forward_spare_blocks(self) -> int | None:
        """With an empty queue, all jobs go on while a block is to spare."""
        return None if self.scheduler_delay_factor else 1

    def plan(self, step: Ledger) -> None:
        """Prompts, decodes and swapped requests, in the order of the engine's mode."""
        if step.joined:
            self._order = [job for job in self._order if job not in step.joined] + step.joined
        chunked = self.enable_chunked_prefill
        admitted = [] if chunked or step.swapped else self._admit(step)
        visited = [] if admitted else self._go_on(step)
        swapped_in = [] if admitted or step.preempted else self._swap_in(step)
        self._remember(step, self._admit(step) if chunked else admitted, visited, swapped_in)

    def _remember(self, step: Ledger, new: list[Job], visited: list[Job] | None, back: list[Job]) -> None:
        """Put the running list together as the engine does; it decides between simultaneous arrivals."""
        if visited is None and not new and not back:
            return  # all decoded: the list is as it was
        if visited is None:
            visited = sorted((job for job in self._order if job not in new), key=_arrival)
        decodes = [job for job in visited if job in step.running and job.decodes]
        prompts = [job for job in visited if job in step.running and not job.decodes]
        seen = {*new, *visited, *back}
        rest = [job for job in self._order if job in step.running and job not in seen]
        back.sort(key=attrgetter("decodes"), reverse=True)  # half-computed prompts last
        self._order = [*rest, *new, *decodes, *prompts, *back]

    def _admit(self, step: Ledger) -> list[Job]:
        """Start waiting prompts in order until one does not fit; return them."""
        if not self._delay_is_over(step):
            return []
        keep_free = int(self.watermark * step.limits.num_gpu_blocks)
        limits, chunked = step.limits, self.enable_chunked_prefill
        longest = (
            limits.max_model_len if chunked else min(limits.max_model_len, limits.max_num_batched_tokens)
        )
        victims = sum(job not in step.swapped for job in step.preempted)  # they head the queue
        admitted: list[Job] = []
        while len(step.waiting) > victims:
            job = step.waiting[victims]
            known = job.known_tokens
            tokens = min(job.remaining_tokens, step.token_budget) if chunked else job.remaining_tokens
            blocks = step.blocks_to_admit(job, known)  # for all of it, even if only a chunk is computed
            if tokens > longest or step.total_blocks - blocks < keep_free:
                step.fail(job)
            elif tokens and step.free_blocks - blocks >= keep_free and step.admit(job, tokens, known):
                admitted.append(job)
            else:
                break
        if admitted:
            self._prompts_at_s = step.now_s
        return admitted

    def _delay_is_over(self, step: Ledger) -> bool:
        if self._prompts_at_s is not None:
            self._prompt_latency_s = step.now_s - self._prompts_at_s
            self._prompts_at_s = None
        if not self.scheduler_delay_factor or not step.waiting or not step.running:
            return True
        waited_s = step.now_s - min(job.arrival_s for job in step.waiting)
        return waited_s > self.scheduler_delay_factor * self._prompt_latency_s

    def _go_on(self, step: Ledger) -> list[Job] | None:
        """Schedule the running requests by arrival, each of which wants to see a free block at its turn.

        Where there is none, the latest arrival gives up its blocks. Returns the jobs that it came to;
        None stands for all.
        """
        if not step.partial and step.free_blocks > step.blocks_opening and step.decode_all():
            return None
        going_on = (job for job in self._order if job in step.running and not job.completing)
        queue = sorted(going_on, key=_arrival)
        for job in [each for each in queue if each not in step.partial]:
            step.hold(job)
        turn = 0
        while turn < len(queue) and step.token_budget:
            job = queue[turn]
            while step.free_blocks < 1:
                victim = queue.pop()
                if not self._swappable(step, victim) or not step.swap_out(victim, job):
                    step.preempt(victim, for_job=job)
                if victim is job:
                    break
            else:
                step.prefill(job, min(job.remaining_tokens, step.token_budget))
                turn += 1
        return queue[:turn]

    def _swappable(self, step: Ledger, job: Job) -> bool:
        """The engine brings a prompt back whole or never; if it is not to hang, such a one starts anew."""
        comes_back = job.remaining_tokens <= step.limits.max_num_batched_tokens or step.limits.strict_engine
        return self.preemption_mode == "swap" and comes_back

    def _swap_in(self, step: Ledger) -> list[Job]:
        """Bring swapped requests back, by arrival, until one does not fit; return them."""
        keep_free, back = int(self.watermark * step.limits.num_gpu_blocks), list[Job]()
        for job in sorted(step.swapped, key=_arrival):
            blocks = step.blocks_held(job) + 1
            if step.total_blocks < blocks:
                step.fail(job)
            elif step.free_blocks - blocks < keep_free or not step.swap_in(job, job.remaining_tokens):
                break
            else:
                back.append(job)
        return back
