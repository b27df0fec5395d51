"""Turns of a session that are given by what each adds: the client sends all of the conversation with it."""

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.workload.checks import LARGEST_TOKENS, Where
from simulator.workload.columns import TrafficColumns, compact


def added(columns: TrafficColumns, session: Ints, where: Where) -> tuple[Ints | None, Ints]:
    """Return the new tokens of each prompt and its whole length, where ``columns`` has new tokens as prompts.

    A later turn's prompt is the one before in its session, the answer to that, and what is new. Where block ids
    show that prompts are whole, as a later turn begins with the blocks of the one before, there are no new tokens
    and the lengths are as they are. Raises ``InputError`` naming the row whose prompt comes to more tokens than a
    request may have.
    """
    new = columns.prompt_tokens
    if not (np.unique(session[session >= 0], return_counts=True)[1] > 1).any() or _begin_alike(
        columns, session
    ):
        return None, new
    so_far: dict[int, int] = {}
    prompts = new.astype(np.int64)
    rows = zip(session.tolist(), new.tolist(), columns.output_tokens.tolist(), strict=True)
    for i, (each, tokens, answer) in enumerate(rows):
        if each >= 0:
            prompt = so_far.get(each, 0) + tokens
            if prompt > LARGEST_TOKENS:
                raise InputError(
                    f"{where(i)}: the session comes to {prompt:,} prompt tokens; expected at most {LARGEST_TOKENS:,}"
                )
            prompts[i] = prompt
            so_far[each] = prompt + answer
    return new, compact(prompts)


def _begin_alike(columns: TrafficColumns, session: Ints) -> bool:
    """Tell whether later turns begin with the block that the turn before began with, in all that have blocks."""
    pieces = columns.hash_ids
    if pieces is None:
        return False
    last: dict[int, int] = {}
    alike: list[bool] = []
    for i, each in enumerate(session.tolist()):
        begin = int(pieces.offsets[i])
        if each < 0 or begin == pieces.offsets[i + 1]:
            continue
        stream = int(pieces.streams[begin])
        if each in last:
            alike.append(last[each] == stream)
        last[each] = stream
    return bool(alike) and all(alike)
