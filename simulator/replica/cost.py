"""The seam between the engine and hardware: what a step looks like, and how long it takes."""

from collections.abc import Sequence
from typing import Protocol


class StepShape:
    """One engine step in aggregates, so that pricing it does not depend on the batch size.

    A *prefill* entry computes ``n`` tokens after ``prior`` tokens whose keys and values are already
    cached; a *decode* entry computes one token and attends to ``context`` tokens, itself included.
    """

    __slots__ = (
        "decode_context_tokens", "decode_seqs", "draft_passes", "draft_tokens", "draft_width",
        "prefill_attention_pairs", "prefill_context_tokens", "prefill_seqs", "prefill_tokens", "swap_in_blocks",
        "swap_out_blocks",
    )  # fmt: skip

    def __init__(
        self,
        *,
        prefill_tokens: int = 0,
        prefill_seqs: int = 0,
        prefill_attention_pairs: float = 0.0,
        prefill_context_tokens: int = 0,
        decode_seqs: int = 0,
        decode_context_tokens: int = 0,
        swap_in_blocks: int = 0,
        swap_out_blocks: int = 0,
    ) -> None:
        self.prefill_tokens = prefill_tokens  # Σ n
        self.prefill_seqs = prefill_seqs  # number of prefill entries
        self.prefill_attention_pairs = prefill_attention_pairs  # Σ n·prior + n²/2 (exact in a double)
        self.prefill_context_tokens = prefill_context_tokens  # Σ n + prior
        self.decode_seqs = decode_seqs  # number of decode entries
        self.decode_context_tokens = decode_context_tokens  # Σ context
        self.draft_passes = 0  # of the drafter after it, over all sequences of the step
        self.draft_width = 1  # tokens of each sequence in all of these passes but the first, which has one
        self.draft_tokens = 0  # computed beside the decodes: guesses of the tokens that follow theirs
        self.swap_in_blocks = swap_in_blocks  # KV blocks moved from host memory before the step
        self.swap_out_blocks = swap_out_blocks  # KV blocks moved to host memory before the step

    def count(self, tokens: int, prior: int, decode: bool, sign: int) -> None:
        """Add an entry of ``tokens`` tokens after ``prior`` ones to the step (``sign`` 1), or remove it (-1).

        The last token of a recomputation is a ``decode`` like any other.
        """
        if decode:
            self.decode_seqs += sign
            self.decode_context_tokens += sign * (prior + 1)
        else:
            self.prefill_tokens += sign * tokens
            self.prefill_seqs += sign
            self.prefill_attention_pairs += sign * tokens * (prior + 0.5 * tokens)
            self.prefill_context_tokens += sign * (prior + tokens)


# From which sum of contexts on, up to below which, a step of so many decodes and nothing else costs
# ``offset + slope * context_tokens`` seconds
DecodePiece = tuple[float, float, float, float]


class CostModel(Protocol):
    """How long a step takes: a pure function of its shape, with no clock and no hidden randomness.

    A model may have a method ``decode_piece(seqs, context_tokens) -> DecodePiece`` too: steps of nothing but
    decodes are then priced without a call each. It has to agree with ``step_s`` to the last bit.
    """

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one step in seconds; finite and >= 0."""
        ...


class StagedCost(CostModel, Protocol):
    """How long a step takes each stage of a pipeline; ``step_s`` is the sum, for a step that is alone in it."""

    def stage_s(self, shape: StepShape) -> Sequence[float]:
        """Return the seconds of one step in each stage, handing over to the next one included."""
        ...
