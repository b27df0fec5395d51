"""Which chunks of one token are decodes: the next token of a request that the engine schedules one by one."""

import numpy as np

from simulator.arrays import Columns, Flags, Ints


def single_decodes(requests: Columns, tokens: Columns, work: Columns) -> Flags:
    """Say of each row of ``work`` whether it is a chunk of one token that gives its request the next one.

    So begins a request whose KV cache came from another replica, and so go on those that a policy holds out of the
    decode group. The table of steps counts them as decodes. Of a request that was handed over before its first token,
    that chunk is the last token of its prompt, which another replica has computed as well.
    """
    columns = (work[name].astype(np.int64) for name in ("request_id", "replica", "step", "computed_before"))
    request, replica, step, before = columns
    prompt = requests["prompt_tokens"][request].astype(np.int64)
    chunk = work["kind"] == "prefill"
    ends = np.flatnonzero(chunk & (before + work["tokens"] == prompt))
    places = np.unique(np.stack([request[ends], replica[ends]]), axis=1)[
        0
    ]  # a replica that computed all of it
    twice = np.bincount(places, minlength=len(requests["prompt_tokens"])) > 1
    beyond = (before >= prompt) | ((before == prompt - 1) & twice[request])
    found: Flags = chunk & (work["tokens"] == 1) & beyond
    rows = np.flatnonzero(found)
    theirs = np.isin(tokens["request_id"], np.unique(request[rows]))
    given = np.stack([tokens[name][theirs].astype(np.int64) for name in ("request_id", "replica", "step")])
    asked = np.stack([request[rows], replica[rows], step[rows]])
    found[rows] = _in(asked, given)
    return found


def _in(asked: Ints, given: Ints) -> Flags:
    """Say of each column of ``asked`` whether ``given`` has it."""
    both = np.concatenate([given, asked], axis=1)
    _, number = np.unique(both, axis=1, return_inverse=True)
    count = given.shape[1]
    found: Flags = np.isin(number[count:], number[:count])
    return found
