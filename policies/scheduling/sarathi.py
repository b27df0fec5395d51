"""Sarathi-Serve: prompts are computed in chunks beside the decodes, which never wait for them."""

from dataclasses import dataclass

from policies.scheduling._preemption import fill, go_on, make_room
from policies.scheduling._step_time import longest_chunk
from simulator.policy import Job, Ledger, Scheduler, check_share


@dataclass(frozen=True)
class Sarathi(Scheduler):
    """Stall-free batching: all decodes, then ongoing prompts, then new ones, under one token budget.

    With a target for the time between tokens, a chunk is also no longer than what keeps the step below it,
    but one KV block at least, so that prompts always go on. When KV runs out, the latest is computed again.
    Source: Agrawal et al., "Sarathi-Serve", OSDI 2024 (arXiv 2403.02310), section 4.2, algorithm 3.
    """

    chunk_size: int = 512  # token budget of a step, decodes included
    tbt_target_s: float = (
        0.0  # longest time between tokens that prompts may cause, s; 0: as chunk_size has it
    )
    watermark: float = 0.01  # share of KV blocks kept free when admitting beside running requests

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, whatever fits goes on."""
        return 0

    def plan(self, step: Ledger) -> None:
        """Decodes, ongoing prompts, new prompts."""
        make_room(step, "recompute", "latest")
        step.decode_all()
        go_on(step, self._chunk)
        if not step.preempted:
            fill(step, int(self.watermark * step.total_blocks), self._chunk)

    def _chunk(self, step: Ledger, job: Job) -> int:
        """How many tokens of a prompt still go into the step."""
        spent = step.limits.max_num_batched_tokens - step.token_budget
        most = min(job.remaining_tokens, step.token_budget, self.chunk_size - spent)
        if most <= 0 or not self.tbt_target_s:
            return max(0, most)
        return longest_chunk(step, job, most, self.tbt_target_s)
