"""What the engine has recorded, as numpy arrays: the one place that knows how ``Records`` keeps its rows.

One function a kind of row; each returns columns, in the order of recording.
"""

from collections.abc import Iterable

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.replica.records import (
    PREEMPTION_COLUMNS,
    RUN_COLUMNS,
    STEP_COLUMNS,
    Records,
)
from simulator.replica.request import RequestState


def steps_ended(records: Records) -> int:
    """Return how many steps ended."""
    return records.count("steps") + records.count("run_ends") - records.in_flight


def planned_step_rows(records: Records) -> tuple[Ints, dict[str, Floats]]:
    """Return the index and STEP_COLUMNS of each step that was planned one by one."""
    index, *columns = records.rows("steps")
    return index.astype(np.int64), dict(zip(STEP_COLUMNS, columns, strict=True))


def run_rows(records: Records) -> dict[str, Floats]:
    """Return RUN_COLUMNS of the steps in a row in which all jobs decode."""
    return dict(zip(RUN_COLUMNS, records.rows("runs"), strict=True))


def run_ends_s(records: Records) -> Floats:
    """Return when each step of the runs ended, seconds."""
    ends_s: Floats = records.rows("run_ends")[0]
    return ends_s


def run_blocks(records: Records) -> Ints:
    """Return the KV blocks used in each step of the runs."""
    blocks, runs = records.rows("run_blocks")[0], run_rows(records)
    counts = runs["steps"].astype(np.int64)
    used: Ints = np.cumsum(blocks)
    begins = np.cumsum(counts) - counts
    used += np.repeat(runs["kv_blocks_used"].astype(np.int64) - (used - blocks)[begins], counts)
    return used


def chunk_rows(records: Records) -> tuple[Ints, Ints]:
    """Return step and request of each chunk of known tokens that was scheduled."""
    step, request, _, _ = records.rows("chunks")
    return step, request


def chunk_columns(records: Records) -> tuple[Ints, Ints, Ints, Ints]:
    """Return step, request, tokens and tokens computed before of each chunk of known tokens that was scheduled."""
    step, request, tokens, before = records.rows("chunks")
    return step, request, tokens, before


def drafts_trimmed(records: Records) -> int:
    """Return how many drafts of the steps that ended were not verified, as they did not pay."""
    _, step, drafts = records.rows("trimmed")
    return int(drafts[step < steps_ended(records)].sum())


def preemption_columns(records: Records) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return step, victim and computed tokens of each preemption, for which request it was, and the blocks lacking."""
    step, request, computed, for_request, blocks = records.rows("preemptions")
    return step, request, computed, for_request, blocks


def span_rows(records: Records) -> tuple[Ints, Ints, Ints]:
    """Return request, first tick and number of the tokens decoded tick after tick."""
    request, tick, tokens = records.rows("spans")
    return request, tick, tokens


def prompt_end_rows(records: Records) -> tuple[Ints, Ints]:
    """Return request and step of each token that followed the last known one, and was given."""
    request, step = records.rows("prompt_ends")
    withheld, its_step = records.rows("withheld")
    if len(withheld):
        n = 1 + max(int(request.max()), int(withheld.max()))
        given = np.isin(step * n + request, its_step * n + withheld, invert=True)
        return request[given], step[given]
    return request, step


def draft_columns(records: Records) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return request, step, drafts, accepted drafts and tokens of each request in each step with drafts."""
    request, step, drafts, accepted, tokens = records.rows("drafts")
    return request, step, drafts, accepted, tokens


def preemption_rows(records: Records) -> Ints:
    """Return the request of each preemption."""
    request: Ints = records.rows("preemptions")[PREEMPTION_COLUMNS.index("request_id")]
    return request


def hit_rows(records: Records) -> tuple[Ints, Ints, Ints]:
    """Return request and tokens of each admission that found some in a prefix cache, and 1 if after a preemption."""
    request, tokens, again = records.rows("hits")
    return request, tokens, again


def ended_rows(records: Records) -> tuple[Ints, Ints, Floats]:
    """Return request, state and time of each end."""
    request, state, time_s = records.rows("ended")
    return request.astype(np.int64), state.astype(np.int64), time_s


def ending_rows(rows: Iterable[tuple[int, RequestState, float]]) -> tuple[Ints, Ints, Floats]:
    """Return the columns of rows of request, state and time."""
    request, state, time_s = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(request, np.int64), np.array(state, np.int64), np.array(time_s, np.float64)
