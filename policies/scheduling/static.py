"""Static batching: a batch is formed, computed to its end, and only then the next one starts."""

from dataclasses import dataclass
from typing import ClassVar

from simulator.policy import Ledger, Scheduler


@dataclass(frozen=True)
class Static(Scheduler):
    """Admit what waits when the engine is empty, and no other until the last of them is done.

    KV blocks for the prompt and all ``max_tokens`` are reserved. A row that finishes early is not
    computed further (no padding), but its seat stays empty until the whole batch is done.
    """

    reserves_whole: ClassVar[bool] = True

    def splits_prompts(self) -> bool:
        """Prompts are always computed whole."""
        return False

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, all jobs go on."""
        return 0

    def plan(self, step: Ledger) -> None:
        """Go on with the batch, or form the next one."""
        if step.running:
            step.decode_all()
            return
        while step.waiting:
            job = step.waiting[0]
            if not step.admit(job, job.known_tokens, job.prompt_tokens + job.max_tokens):
                return
