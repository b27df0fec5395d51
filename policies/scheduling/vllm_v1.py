"""vLLM's V1 scheduler: every step mixes decodes and chunks of prompts under one token budget."""

from dataclasses import dataclass
from typing import ClassVar

from simulator.ledger import Ledger
from simulator.policy import Scheduler
from simulator.request import Job


@dataclass(frozen=True)
class VllmV1(Scheduler):
    """Running requests first, each as far as the budget goes; then waiting ones, first come first served.

    When KV blocks run out, the request admitted last is preempted and recomputed later, and nobody is
    admitted in that step. Source: vLLM 0.24, vllm/v1/core/sched/scheduler.py (synchronous scheduling).
    """

    null_blocks: ClassVar[int] = 1  # block 0 of the pool is never handed out

    enable_chunked_prefill: bool = True  # off: a prompt waits until it fits a step's budget whole
    long_prefill_token_threshold: int = 0  # longest chunk of one prompt in a step; 0: no limit
    scheduler_reserve_full_isl: bool = True  # admit only what would fit with its whole prompt
    watermark: float = 0.0  # share of KV blocks kept free when admitting beside running requests

    def splits_prompts(self) -> bool:
        """Whether prompts are computed in chunks."""
        return self.enable_chunked_prefill

    def plan(self, step: Ledger) -> None:
        """Keep everyone running, the latest making room for the others; then fill the step up."""
        while not step.decode_all():
            step.preempt(step.last_running())
        if step.partial:
            self._go_on_with_prompts(step)
        if step.waiting and not step.preempted:
            self._admit(step)

    def _go_on_with_prompts(self, step: Ledger) -> None:
        for job in list(step.partial):
            tokens = self._chunk(job, step.token_budget)
            while tokens and job in step.partial and not step.prefill(job, tokens):
                step.preempt(step.last_running())

    def _admit(self, step: Ledger) -> None:
        """Start waiting requests in order until one does not fit."""
        while step.waiting and step.token_budget:
            job = step.waiting[0]
            known = job.known_tokens
            if known > step.token_budget and not self.enable_chunked_prefill:
                return
            tokens = self._chunk(job, step.token_budget)
            needed = step.blocks_for(known if self.scheduler_reserve_full_isl else tokens)
            if self.watermark and step.running:
                needed += int(self.watermark * (step.total_blocks + self.null_blocks))
            if needed > step.free_blocks or not step.admit(job, tokens):
                return

    def _chunk(self, job: Job, token_budget: int) -> int:
        """Tokens of a job's known ones that this step may compute."""
        longest = self.long_prefill_token_threshold or token_budget
        return min(job.remaining_tokens, longest, token_budget)
