"""Which requests were in which step beside those that decode: the chunks of prompts, and who was preempted."""

from collections.abc import Sequence

import numpy as np

from simulator.arrays import Columns, Ints
from simulator.results.recorded import chunk_columns, preemption_columns, steps_ended
from simulator.results.tables import Incarnation


def work_table(incarnations: Sequence[Incarnation]) -> Columns:
    """Return a row a chunk of known tokens that a step computed, and a row a preemption at a step's planning.

    Ordered by replica, step and the engine's order in it. ``tokens`` are those of the chunk, or the computed ones that
    a preempted request gave up or took along; ``computed_before`` are the request's tokens that were computed already.
    Steps count within their replica, through all its incarnations, as in the table of steps; what was planned for
    steps that never ended is left out. A chunk of one token may be the last of a recomputation, or the first step of a
    request that was handed over, which the table of steps counts as a decode. Which requests decode in a step says the
    table of tokens.
    """
    found: list[list[Ints]] = []
    stepped: dict[int, int] = {}
    for each in incarnations:
        first, ended = stepped.get(each.replica, 0), steps_ended(each.records)
        stepped[each.replica] = first + ended
        for kind, (step, request, tokens, before) in enumerate(
            (chunk_columns(each.records), preemption_columns(each.records))
        ):
            here = step < ended
            n = int(here.sum())
            columns = [step[here] + first, request[here], tokens[here], before[here]]
            found.append([np.full(n, each.replica, np.int64), *columns, np.full(n, kind, np.int64)])
    names = ("replica", "step", "request_id", "tokens", "computed_before", "kind")
    rows = (
        [np.concatenate(column) for column in zip(*found, strict=True)]
        if found
        else [np.zeros(0, np.int64)] * 6
    )
    table: Columns = dict(zip(names, rows, strict=True))
    order = np.lexsort((np.arange(len(rows[0])), table["kind"], table["step"], table["replica"]))
    return {
        name: column[order].astype(np.int8 if name == "kind" else np.int32) for name, column in table.items()
    }
