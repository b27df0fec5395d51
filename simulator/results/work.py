"""Which requests were in which step beside those that decode: the chunks of prompts, and who was preempted."""

from collections.abc import Sequence

import numpy as np

from simulator.arrays import Columns, Ints
from simulator.replica.shortage import NO_REQUEST
from simulator.results.recorded import chunk_columns, preemption_columns, steps_ended
from simulator.results.tables import Incarnation

_NAMES = (
    "replica",
    "step",
    "request_id",
    "tokens",
    "computed_before",
    "for_request",
    "blocks_lacked",
    "kind",
)


def work_table(incarnations: Sequence[Incarnation], request_of: Ints | None = None) -> Columns:
    """Return a row a chunk of known tokens that a step computed, and a row a preemption at a step's planning.

    Ordered by replica, step and the engine's order in it. ``tokens`` are those of the chunk, or the computed ones that
    a preempted request gave up or took along; ``computed_before`` are the request's tokens that were computed already.
    Steps count within their replica, through all its incarnations, as in the table of steps; what was planned for
    steps that never ended is left out. A chunk of one token may be the last of a recomputation, or the first step of a
    request that was handed over, which the table of steps counts as a decode. Which requests decode in a step says the
    table of tokens.

    ``for_request`` of a preemption is the request that lacked so many KV blocks (``blocks_lacked``), or, where that is
    0, the one that the policy let ahead (-1: it names none; -2: requests that waited held all blocks). Of a chunk they
    are -1 and 0. ``request_of`` is the request of each number in the records, where some have several.
    """
    found: list[list[Ints]] = []
    stepped: dict[int, int] = {}
    for each in incarnations:
        first, ended = stepped.get(each.replica, 0), steps_ended(each.records)
        stepped[each.replica] = first + ended
        step, request, tokens, before = chunk_columns(each.records)
        none, zero = np.full(len(step), NO_REQUEST), np.zeros(len(step), np.int64)
        chunks = step, request, tokens, before, none, zero
        step, request, computed, for_request, blocks = preemption_columns(each.records)
        preemptions = step, request, computed, computed, for_request, blocks
        for kind, (step, *columns) in enumerate((chunks, preemptions)):
            here = step < ended
            n = int(here.sum())
            kept = [step[here] + first, *(column[here] for column in columns)]
            found.append([np.full(n, each.replica, np.int64), *kept, np.full(n, kind, np.int64)])
    rows = (
        [np.concatenate(column) for column in zip(*found, strict=True)]
        if found
        else [np.zeros(0, np.int64)] * len(_NAMES)
    )
    table: Columns = dict(zip(_NAMES, rows, strict=True))
    if request_of is not None:
        table["request_id"] = request_of[table["request_id"]]
    order = np.lexsort((np.arange(len(rows[0])), table["kind"], table["step"], table["replica"]))
    return {
        name: column[order].astype(np.int8 if name == "kind" else np.int32) for name, column in table.items()
    }
