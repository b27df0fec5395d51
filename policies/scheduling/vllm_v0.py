"""vLLM's V0 scheduler: whole prompts first, in steps of their own; decodes wait meanwhile."""

from dataclasses import dataclass

from simulator.ledger import Ledger
from simulator.policy import Scheduler


@dataclass(frozen=True)
class VllmV0(Scheduler):
    """Prefill first: as long as a waiting prompt fits, a step computes prompts only.

    When KV blocks run out, the latest arrival is preempted and recomputed. A prompt that could never
    fit is refused. Source: vLLM 0.5.3, vllm/core/scheduler.py (no chunked prefill, no swapping).
    """

    watermark: float = 0.01  # share of KV blocks that admission leaves free

    def splits_prompts(self) -> bool:
        """Prompts are always computed whole."""
        return False

    def plan(self, step: Ledger) -> None:
        """Admit what fits; only if nothing does, decode."""
        if not self._admitted(step):
            self._make_room(step)
            step.decode_all()

    def _admitted(self, step: Ledger) -> bool:
        """Start waiting prompts in order until one does not fit; return whether any was started."""
        keep_free = int(self.watermark * step.total_blocks)
        admitted = False
        while step.waiting:
            job = step.waiting[0]
            blocks = step.blocks_for(job.known_tokens)
            if job.known_tokens > step.max_num_batched_tokens or blocks > step.total_blocks - keep_free:
                step.fail(job)
            elif blocks <= step.free_blocks - keep_free and step.admit(job, job.known_tokens):
                admitted = True
            else:
                break
        return admitted

    def _make_room(self, step: Ledger) -> None:
        """Preempt latest arrivals until every decode, oldest first, finds a free block at its turn.

        The engine asks for a free block even for a token that needs none.
        """
        if step.free_blocks > step.blocks_opening:
            return
        queue = sorted(step.running, key=lambda job: job.arrival_s)
        free = step.free_blocks
        turn = 0
        while turn < len(queue):
            job = queue[turn]
            while free < 1:
                victim = queue.pop()
                free += step.blocks_held(victim)
                step.preempt(victim)
                if victim is job:
                    break
            else:
                free -= step.opens_block(job)
                turn += 1
