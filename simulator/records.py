"""What the engine writes down while it runs: flat rows, appended and never read until the end.

Tokens are not written one by one. A job that decodes without interruption from tick ``a`` on for ``k``
ticks produced its tokens at exactly those ticks' steps, so one *span* stands for all of them; a prompt
that completes adds one token at its step. Nor are steps in which everyone just decodes: such a *run* of
steps is one row, with an end and a count of KV blocks for each. ``simulator.tables`` unfolds all of it.
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


RUN_COLUMNS = ("first_step", "steps", "start_s", "decode_seqs", "decode_context_tokens", "running")


class Records:
    """The rows of one replica. Each list is flat: its columns follow one another, row by row."""

    __slots__ = (
        "chunks", "ended", "preemptions", "prompt_ends", "run_blocks", "run_ends", "runs", "spans", "steps",
        "under_way",
    )  # fmt: skip

    def __init__(self) -> None:
        """Start with no rows."""
        self.steps: list[float] = []  # the step's index, then STEP_COLUMNS, of each step that was planned
        self.runs: list[float] = []  # RUN_COLUMNS: steps in a row in which everyone decodes
        self.run_ends: list[float] = []  # end_s of each step of the runs
        self.run_blocks: list[int] = []  # kv_blocks_used of each step of the runs
        self.chunks: list[int] = []  # CHUNK_COLUMNS: known tokens computed, in order of scheduling
        self.spans: list[int] = []  # SPAN_COLUMNS: tokens decoded tick after tick
        self.prompt_ends: list[int] = []  # PROMPT_END_COLUMNS: the token that follows the last known one
        self.preemptions: list[int] = []  # PREEMPTION_COLUMNS
        self.ended: list[tuple[int, RequestState, float]] = []  # request id, state, time
        self.under_way = 0  # steps at the end that had not ended when the simulation did
