"""vLLM's V1 scheduler: every step mixes decodes and chunks of prompts under one token budget."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from simulator.policy import Job, Ledger, Scheduler, check_share

URGENCY = attrgetter("priority", "arrival_s", "id")


@dataclass(frozen=True)
class VllmV1(Scheduler):
    """Running requests first, each as far as the budget goes; then waiting ones in the queue's order.

    When KV blocks run out, a running request is preempted and computed again later (first come first
    served: the one admitted last; priority: the least urgent), and none is admitted in that step.
    Source: vLLM 0.11.0 and 0.24.0, vllm/v1/core/sched/scheduler.py and async_scheduler.py.
    """

    engine_version: Literal["0.11.0", "0.24.0"] = "0.24.0"  # whose rules the scheduler follows
    async_scheduling: bool | None = None  # off: plan each step with the results of the one before
    policy: Literal["fcfs", "priority"] = "fcfs"  # who waits goes by arrival, or by priority first
    enable_chunked_prefill: bool = True  # off: a prompt waits until it fits a step's budget whole
    enable_prefix_caching: bool = True  # reuse the KV blocks of equal beginnings; V1's default
    long_prefill_token_threshold: int = 0  # longest chunk of one prompt in a step; 0: no limit
    scheduler_reserve_full_isl: bool | None = None  # admit only what fits whole; None: as the version
    watermark: float = 0.0  # share of KV blocks kept free when admitting beside running requests

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def splits_prompts(self) -> bool:
        """Whether prompts are computed in chunks."""
        return self.enable_chunked_prefill

    def decides_each_step(self) -> bool:
        """If asynchronous scheduling is switched off."""
        return self.async_scheduling is False

    def fits_pipeline(self) -> bool:
        """Unless a step is to know the results of the one before."""
        return not self.decides_each_step()

    def native_engine(self) -> str:
        """VLLM of the version."""
        return "vllm-0.11" if self.engine_version == "0.11.0" else "vllm-0.24"

    def prefix_cache(self) -> Literal["blocks"] | None:
        """Full blocks are shared, if so told."""
        return "blocks" if self.enable_prefix_caching else None

    def admits_all(self) -> bool:
        """Unless blocks are kept free, or prompts cut; a policy derived from it may plan otherwise."""
        return type(self) is VllmV1 and not (self.watermark or self.long_prefill_token_threshold)

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, whatever fits goes on."""
        return 0

    def queue_key(self) -> Callable[[Job], Any] | None:
        """By priority, then arrival, if so told."""
        return URGENCY if self.policy == "priority" else None

    def plan(self, step: Ledger) -> None:
        """Keep all jobs running if they fit; then fill the step up from the queue."""
        if self.policy == "priority" and not self._all_fit(step):
            self._squeeze(step)
        else:
            while step.partial and not self._all_fit(step):
                step.preempt(step.last_running())
            while not step.decode_all():
                step.preempt(step.last_running())
            for job in _in_order(step) if step.partial else ():
                tokens = self._chunk(job.remaining_tokens, step.token_budget)
                if tokens:
                    step.prefill(job, tokens)
        if step.waiting and not step.preempted:
            self._admit(step)

    def _all_fit(self, step: Ledger) -> bool:
        """Whether there are blocks for all that the running requests want of this step."""
        blocks, budget = step.blocks_opening, step.token_budget - step.group.size
        for job in _in_order(step):
            tokens = self._chunk(job.remaining_tokens, budget)
            blocks += step.blocks_for(job.computed_tokens + tokens) - step.blocks_held(job)
            budget -= tokens
        return blocks <= step.free_blocks

    def _squeeze(self, step: Ledger) -> None:
        """Give blocks out one by one in running order, taking them from the least urgent.

        A request that has to give up its own blocks ends the pass: those behind it sit this step out.
        """
        for job in step.running:
            if job.group is not None:
                step.hold(job)
        order, turn, given = list(step.running), 0, set[Job]()
        while turn < len(order):
            job = order[turn]
            tokens = self._chunk(job.remaining_tokens, step.token_budget) if job in step.partial else 0
            while tokens and not step.prefill(job, tokens):
                victim = max(order, key=lambda other: (other.priority, other.arrival_s))
                turn -= (
                    victim in given
                )  # one passed over does not count, so that the next in turn is left out
                order.remove(victim)
                step.preempt(victim)
                if victim is job:
                    return
            if tokens:
                given.add(job)
            turn += 1

    def _admit(self, step: Ledger) -> None:
        """Start waiting requests in order until one does not fit."""
        set_aside: list[Job] = []
        waiting, longest = step.waiting, self.long_prefill_token_threshold
        in_full = self.scheduler_reserve_full_isl
        in_full = self.engine_version != "0.11.0" if in_full is None else in_full
        while len(waiting) > len(set_aside) and (budget := step.token_budget):
            job = waiting[len(set_aside)]
            known, cached = job.known_tokens, step.cached_tokens(job)
            tokens = min(known - cached, longest or known)
            if tokens > budget and not self.enable_chunked_prefill:
                if self.engine_version != "0.11.0":
                    break
                set_aside.append(job)  # 0.11.0 lets younger requests overtake
                continue
            tokens = min(tokens, budget)
            needed = step.blocks_to_admit(job, known if in_full else cached + tokens)
            if self.watermark and step.running:
                needed += int(self.watermark * step.limits.num_gpu_blocks)
            if needed > step.free_blocks or not step.admit(job, tokens):
                break
        for job in set_aside:  # and turns their order round when it puts them back
            step.move_to_head(job)

    def _chunk(self, tokens: int, token_budget: int) -> int:
        """Tokens of the remaining ones that this step may compute."""
        return min(tokens, self.long_prefill_token_threshold or token_budget, token_budget)


def _in_order(step: Ledger) -> list[Job]:
    """The jobs with prompts to go on with, in order of admission."""
    if len(step.partial) < 2:
        return list(step.partial)
    return [job for job in step.running if job in step.partial]
