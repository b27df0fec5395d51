"""What the engine writes down while it runs: flat rows, appended and never read until the end.

Tokens are not written one by one. A job that decodes without interruption from tick ``a`` on for ``k``
ticks produced its tokens at exactly those ticks' steps, so one *span* stands for all of them; a prompt
that completes adds one token at its step. Nor are steps in which all jobs only decode: such a *run* of
steps is one row, with an end and a count of KV blocks for each. ``simulator.results.tables`` unfolds all of it.
"""

from array import array
from collections.abc import MutableSequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_COLUMNS = (
    "start_s", "end_s", "prefill_tokens", "prefill_seqs", "decode_seqs", "decode_context_tokens", "running", "waiting",
    "kv_blocks_used", "preemptions", "ticks",
)  # fmt: skip
CHUNK_COLUMNS = ("step", "request_id", "tokens", "computed_before")
SPAN_COLUMNS = ("request_id", "first_tick", "tokens")
PROMPT_END_COLUMNS = ("request_id", "step")
WITHHELD_COLUMNS = PROMPT_END_COLUMNS
HIT_COLUMNS = ("request_id", "tokens", "again")
# Of a request that decodes with drafts in a step: how many, how many were right, and the tokens that it got
DRAFT_COLUMNS = ("request_id", "step", "drafts", "accepted", "tokens")
# Of one whose drafts are not all verified, as some do not pay: how many are not
TRIMMED_COLUMNS = ("request_id", "step", "drafts")
PREEMPTION_COLUMNS = ("step", "request_id", "computed_tokens", "for_request", "blocks_lacked")


# Of its KV blocks those used before its first step
RUN_COLUMNS = (
    "first_step", "steps", "start_s", "decode_seqs", "decode_context_tokens", "running", "kv_blocks_used"
)  # fmt: skip
ENDED_COLUMNS = ("request_id", "state", "time_s")

# Of each list: how many columns its rows have, and as what they are packed
WIDTH = {
    "steps": (1 + len(STEP_COLUMNS), np.float64),
    "runs": (len(RUN_COLUMNS), np.float64),
    "run_ends": (1, np.float64),
    "run_blocks": (1, np.int32),
    "chunks": (len(CHUNK_COLUMNS), np.int32),
    "spans": (len(SPAN_COLUMNS), np.int32),
    "prompt_ends": (len(PROMPT_END_COLUMNS), np.int32),
    "withheld": (len(WITHHELD_COLUMNS), np.int32),
    "drafts": (len(DRAFT_COLUMNS), np.int32),
    "trimmed": (len(TRIMMED_COLUMNS), np.int32),
    "preemptions": (len(PREEMPTION_COLUMNS), np.int32),
    "hits": (len(HIT_COLUMNS), np.int32),
    "ended": (len(ENDED_COLUMNS), np.float64),
}


class Records:
    """The rows of one replica. Each list is flat: its columns follow one another, row by row.

    Lists are the fastest to append to but take some 30 bytes a number, so what is old is moved into arrays
    (``taking.pack``). Only the end of a list may be looked at or changed; ``rows`` gives all of it.
    """

    __slots__ = (
        *WIDTH,
        "_packed",
        "looked_up_tokens",
        "looked_up_again_tokens",
        "in_flight",
        "trimmed_steps",
    )

    def __init__(self) -> None:
        """Start with no rows."""
        self.steps: list[float] = []  # the step's index, then STEP_COLUMNS, of each step that was planned
        self.runs: list[float] = []  # RUN_COLUMNS: steps in a row in which all jobs decode
        # Of each step of the runs, the most rows by far: without an object each in memory, where they would be cold
        self.run_ends = array("d")  # end_s
        self.run_blocks = array("i")  # that it takes
        self.chunks: list[int] = []  # CHUNK_COLUMNS: known tokens computed, in order of scheduling
        self.spans: list[int] = []  # SPAN_COLUMNS: tokens decoded tick after tick
        self.prompt_ends: list[int] = []  # PROMPT_END_COLUMNS: the token that follows the last known one
        self.withheld: list[int] = []  # of these, those whose token another replica computes and gives
        self.drafts: list[int] = []  # DRAFT_COLUMNS: tokens that came with a step of speculative decoding
        self.trimmed: list[int] = []  # TRIMMED_COLUMNS
        self.preemptions: list[int] = []  # PREEMPTION_COLUMNS
        # HIT_COLUMNS: what an admission found in a prefix cache; again: after a preemption
        self.hits: list[int] = []
        self.ended: list[float] = []  # ENDED_COLUMNS: final states
        self.looked_up_tokens = 0  # known tokens sought in a prefix cache at admissions
        self.looked_up_again_tokens = 0  # those of admissions after a preemption, which are not in it
        self.trimmed_steps = 0  # in which drafts were chosen by whether they pay, be it all
        self.in_flight = 0  # steps at the end that had not ended when the simulation did
        self._packed: dict[str, list[NDArray[Any]]] = {name: [] for name in WIDTH}

    def look_up(self, request: int, known_tokens: int, found_tokens: int, again: bool) -> None:
        """Note what an admission found in a prefix cache; after a preemption a request finds its own blocks again."""
        if again:
            self.looked_up_again_tokens += known_tokens
        else:
            self.looked_up_tokens += known_tokens
        if found_tokens:
            self.hits.extend((request, found_tokens, again))

    def take_out(self, name: str, stop: int) -> NDArray[Any]:
        """Take the first ``stop`` numbers out of a list: nothing looks at them any more."""
        rows: MutableSequence[float] = getattr(self, name)
        taken = np.array(rows[:stop], WIDTH[name][1])
        del rows[:stop]
        return taken

    def pack(self, name: str, stop: int) -> None:
        """Make the first ``stop`` numbers of a list small."""
        self._packed[name].append(self.take_out(name, stop))

    def rows(self, name: str) -> NDArray[Any]:
        """Return all rows of a list as float64 or int64, shape (columns, rows)."""
        width, kind = WIDTH[name]
        wide = np.float64 if kind is np.float64 else np.int64
        parts = [*self._packed[name], np.array(getattr(self, name), kind)]
        return np.concatenate(parts, dtype=wide).reshape(-1, width).T

    def count(self, name: str) -> int:
        """Return how many rows a list has."""
        return (sum(map(len, self._packed[name])) + len(getattr(self, name))) // WIDTH[name][0]

    def prompt_end(self, request: int, step: int) -> int | None:
        """Where it is written that a prompt ends in one of the last steps, from ``step`` on; None if it does not."""
        return last_place(self.prompt_ends, request, step)

    def take_back(self, request: int, step: int) -> bool:
        """Take back that a prompt ends in one of the last steps, and its token; False if it does not."""
        place = None
        for rows in (self.withheld, self.prompt_ends):
            place = last_place(rows, request, step)
            if place is not None:
                del rows[place : place + 2]
        return place is not None

    def drafted(self, request: int, step: int) -> int | None:
        """Where it is written that a request decodes with drafts in one of the last steps, from ``step`` on."""
        return last_place(self.drafts, request, step, len(DRAFT_COLUMNS))


def last_place(rows: list[int], request: int, step: int, width: int = len(PROMPT_END_COLUMNS)) -> int | None:
    """Where the last rows, which begin with a request and a step, name the request at that step or later."""
    for place in range(len(rows) - width, -1, -width):
        if rows[place + 1] < step:
            return None
        if rows[place] == request:
            return place
    return None
