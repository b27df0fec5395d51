"""KV caches that went from replica to replica, and what each hand-over consists of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.results.recorded import steps_ended
from simulator.results.tables import Incarnation
from simulator.results.tokens import UnfoldedTokens

# What is noted of a transfer when it is over
NOTED = {
    "request_id": np.int32,
    "kind": np.str_,
    "source": np.int32,
    "destination": np.int32,
    "start_s": np.float64,
    "prefill_end_s": np.float64,
    "routed_s": np.float64,
    "granted_s": np.float64,
    "connected_s": np.float64,
    "end_s": np.float64,
    "bytes": np.float64,
    "descriptors": np.int64,
    "cached_tokens": np.int32,
    "tokens_before": np.int32,
    "arrived": np.bool_,
}
# The moments of a hand-over, and what each but the first ends
MOMENTS = {
    "prefill_end_s": None,
    "routed_s": "routing",
    "granted_s": "blocks",
    "connected_s": "handshake",
    "end_s": "transfer",
    "step_start_s": "decode_queue",
    "step_end_s": "decode_step",
    "delivered_s": "delivery",
}


def transfer_table(
    done: Sequence[Any], lives: Sequence[Incarnation], steps: Columns, tokens: UnfoldedTokens
) -> Columns:
    """One row per transfer, its columns ``NOTED``, and the step that gave the next token after one that arrived.

    ``done`` has what is noted, row by row; ``steps`` are the times of the steps of ``lives``, one after another. A time
    that never came is NaN.
    """
    columns: Columns = {
        name: np.array(done[place :: len(NOTED)], kind) for place, (name, kind) in enumerate(NOTED.items())
    }
    n = len(columns["request_id"])
    for name in ("step_start_s", "step_end_s", "delivered_s"):
        columns[name] = np.full(n, np.nan)
    request, before = columns["request_id"], columns["tokens_before"]
    given = np.flatnonzero(columns["arrived"] & (before < tokens.counts[request]))
    token = tokens.offsets[request[given]] + before[given]
    replica, step = tokens.steps_of(request[given], before[given])
    replicas, stepped = [each.replica for each in lives], [steps_ended(each.records) for each in lives]
    row = np.concatenate([[0], np.cumsum(np.bincount(replicas, stepped))]).astype(np.int64)[replica] + step
    columns["step_start_s"][given] = steps["start_s"][row]
    columns["step_end_s"][given] = steps["end_s"][row]
    columns["delivered_s"][given] = _delivered_s(tokens, request[given], token)
    return columns


def _delivered_s(tokens: UnfoldedTokens, request: Ints, token: Ints) -> Floats:
    """Return when tokens, numbered through all requests, were delivered."""
    if tokens.delivered_s is not None:
        return tokens.delivered_s[token]
    found = np.full(len(token), np.nan)
    part = np.searchsorted(tokens.bounds, request, side="right") - 1
    for number in np.unique(part):
        mine = part == number
        first = tokens.offsets[tokens.bounds[number]]
        found[mine] = tokens.part_delivered_s(int(number))[token[mine] - first]
    return found


def hand_over_parts(transfers: Columns) -> dict[str, Floats]:
    """Return what the hand-overs that brought a token consist of, seconds each, by name; ``total`` is their sum.

    From the prompt's end to the delivery of the next token: routing to the decode replica, waiting for KV blocks
    there, its handshake, the transfer, waiting in the queue there, the decode step, and the way to the client.
    """
    mine = (transfers["kind"] == "hand_off") & ~np.isnan(transfers["delivered_s"])
    moments = [transfers[name][mine] for name in MOMENTS]
    parts = {
        str(part): later - earlier
        for part, earlier, later in zip(list(MOMENTS.values())[1:], moments[:-1], moments[1:], strict=True)
    }
    return parts | {"total": moments[-1] - moments[0]}
