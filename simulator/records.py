"""What the engine writes down while it runs: flat rows, appended and never read until the end.

Tokens are not written one by one. A job that decodes without interruption from tick ``a`` on for ``k``
ticks produced its tokens at exactly those ticks' steps, so one *span* stands for all of them; a prompt
that completes adds one token at its step. ``simulator.tables`` unfolds both into the token trace.
"""

from simulator.request import RequestState

STEP_COLUMNS = (
    "start_s",
    "end_s",
    "prefill_tokens",
    "prefill_seqs",
    "decode_seqs",
    "decode_context_tokens",
    "running",
    "waiting",
    "kv_blocks_used",
    "preemptions",
    "ticks",
)
CHUNK_COLUMNS = ("step", "request_id", "tokens", "computed_before")
SPAN_COLUMNS = ("request_id", "first_tick", "tokens")
PROMPT_END_COLUMNS = ("request_id", "step")
PREEMPTION_COLUMNS = ("step", "request_id", "computed_tokens")


class Records:
    """The rows of one replica. Each list is flat: its columns follow one another, row by row."""

    __slots__ = ("chunks", "ended", "preemptions", "prompt_ends", "spans", "steps")

    def __init__(self) -> None:
        """Start with no rows."""
        self.steps: list[float] = []  # STEP_COLUMNS; a step is written when it ends
        self.chunks: list[int] = []  # CHUNK_COLUMNS: known tokens computed, in order of scheduling
        self.spans: list[int] = []  # SPAN_COLUMNS: tokens decoded tick after tick
        self.prompt_ends: list[
            int
        ] = []  # PROMPT_END_COLUMNS: one token each, when known tokens were computed
        self.preemptions: list[int] = []  # PREEMPTION_COLUMNS
        self.ended: list[tuple[int, RequestState, float]] = []  # request id, state, time
