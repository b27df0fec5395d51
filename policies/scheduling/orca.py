"""Orca's iteration-level batching: requests join and leave at every step, prompts are computed whole."""

from dataclasses import dataclass
from typing import ClassVar

from simulator.policy import Ledger, Scheduler


@dataclass(frozen=True)
class Orca(Scheduler):
    """First come first served; KV blocks for the prompt and all ``max_tokens`` are reserved at admission.

    No request is ever preempted. Source: Yu et al., "Orca", OSDI 2022, section 4.2, algorithm 1.
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
        """Every running job gets a token, and whole prompts join while they fit."""
        step.decode_all()
        while step.waiting:
            job = step.waiting[0]
            if not step.admit(job, job.known_tokens, job.prompt_tokens + job.max_tokens):
                return
