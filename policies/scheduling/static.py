"""Static batching: a batch is formed, computed to its end, and only then the next one starts."""

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.policy import Job, Ledger, Scheduler, StepShape


@dataclass
class Static(Scheduler):
    """What waits when the engine is empty is the batch, as far as seats and KV go; no other joins until all are done.

    Prompts are padded to the longest, and computed in as many steps as the token budget takes; then all decode. A row
    that has ended is computed until the longest ends. Each row has the KV of the longest prompt and output.
    """

    reserves_whole: ClassVar[bool] = True

    _coming: list[Job] = field(default_factory=list, init=False)  # of the batch, prompts not computed yet
    _rows: int = field(default=0, init=False)
    _longest_tokens: int = field(default=0, init=False)  # prompt
    _row_tokens: int = field(default=0, init=False)  # for which each row has KV
    _position: int = field(default=0, init=False)  # of the token that the rows computed last

    def splits_prompts(self) -> bool:
        """Prompts are always computed whole."""
        return False

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def plan(self, step: Ledger) -> None:
        """Form a batch, compute its prompts, or go on with it."""
        if not step.running:
            self._form(step)
        if not (self._coming and self._compute_prompts(step)):
            self._decode(step)

    def _form(self, step: Ledger) -> None:
        """Take what waits into a batch, in its order."""
        self._coming, self._rows, self._longest_tokens, outputs = [], 0, 0, 0
        for job in step.waiting:
            longest, most = max(self._longest_tokens, job.known_tokens), max(outputs, job.max_tokens)
            rows = len(self._coming) + 1
            if rows > min(step.seats, step.token_budget) or (
                rows > 1 and rows * step.blocks_for(longest + most) > step.free_blocks
            ):
                break
            self._longest_tokens, outputs = longest, most
            self._coming.append(job)
        self._position = self._longest_tokens
        self._row_tokens = self._longest_tokens + outputs

    def _compute_prompts(self, step: Ledger) -> bool:
        """Start rows of the batch while the step's budget holds them, padded; False if there is none."""
        here, started = set(step.waiting), False
        while self._coming:
            job = self._coming[0]
            if job in here:  # and has not left meanwhile
                known, padding = job.known_tokens, self._longest_tokens - job.known_tokens
                brought = job.remaining_tokens < known  # its KV was computed elsewhere
                if self._longest_tokens > step.token_budget or not step.admit(job, known, self._row_tokens):
                    return started
                if not brought:
                    step.pad(
                        StepShape(
                            prefill_tokens=padding,
                            prefill_attention_pairs=padding * (known + 0.5 * padding),
                            prefill_context_tokens=padding,
                        )
                    )
                self._rows += 1
                started = True
            self._coming.pop(0)
        return started

    def _decode(self, step: Ledger) -> None:
        """Compute a token for each row, also of those that have ended."""
        self._rows += len(step.joined)
        size = step.group.size
        if not size or not step.decode_all():
            return
        self._position += 1
        missing = self._rows * self._position - step.group.context_tokens()
        step.pad(StepShape(decode_seqs=self._rows - size, decode_context_tokens=max(0, missing)))
