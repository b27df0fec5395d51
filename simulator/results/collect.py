"""From what replicas have recorded to the tokens that readers get."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Floats, Ints
from simulator.replica.records import Records
from simulator.replica.request import RequestState
from simulator.results.recorded import draft_columns, ended_rows, prompt_end_rows, span_rows, steps_ended
from simulator.results.tables import Incarnation
from simulator.results.tokens import Delay, TokenSegments, UnfoldedTokens


def collect(
    lives: Sequence[Incarnation],
    steps: Columns,
    first_steps: Sequence[int],
    requests: int,
    until_s: Floats | None,
    delay: Delay,
    speculates: bool = False,
    readers: int | None = None,
) -> tuple[UnfoldedTokens, UnfoldedTokens]:
    """Return the tokens of all lives of replicas, and of these those of the first ``readers``.

    ``steps`` are their times, one life after another, and ``first_steps`` the number of the first step of each. None:
    all requests have readers, and both are the same.

    ``until_s`` is up to when a reader takes tokens, f64[requests], inf where there is no limit: what comes later is
    left out, as from a step in flight with asynchronous scheduling. None: there is no limit for any. With
    ``speculates`` it is said of each token whether it came as a draft.
    """
    found: list[tuple[NDArray[np.int32], ...]] = []
    made = None if until_s is None else np.zeros(requests, np.int64)
    # The longest columns by far: there once, and at most a little longer than they need be
    most = len(steps["end_s"]) + sum(map(_points_alone, lives))
    times_s, step_numbers = np.empty(most), np.empty(most, np.int32)
    drafts = np.zeros(most, np.int8) if speculates else None
    row = points = 0
    for (replica, each), first_step in zip(lives, first_steps, strict=True):
        n_steps = steps_ended(each)
        end_s = steps["end_s"][row : row + n_steps]
        ticks = np.flatnonzero(steps["ticks"][row : row + n_steps])
        request, tick, tokens = span_rows(each)
        ended, step = prompt_end_rows(each)
        drafted, its_step, _, accepted, got = draft_columns(each)
        # Each token of theirs has a point of its own, too; all but those that the target added had been drafts
        nth = np.arange(int(got.sum())) - np.repeat(np.cumsum(got) - got, got)
        draft = np.concatenate([np.zeros(len(ended), np.int8), nth < np.repeat(accepted, got)])
        ended = np.concatenate([ended, np.repeat(drafted, got)])
        step = np.concatenate([step, np.repeat(its_step, got)])
        here = step < n_steps
        ended, step = ended[here], step[here]
        tick_s, alone_s = end_s[ticks], end_s[step]
        # The steps in flight when the simulation ended gave no tokens.
        tokens, alone = np.minimum(tokens, len(ticks) - tick), np.ones_like(step)
        if until_s is not None and made is not None:
            np.add.at(made, np.concatenate([request, ended]), np.concatenate([tokens, alone]))
            last = np.searchsorted(tick_s + delay.frontend_s, until_s[request], side="right")
            tokens = np.minimum(tokens, last - tick)
            alone = (alone_s + delay.frontend_s <= until_s[ended]).astype(np.int64)
        owner = np.concatenate([request, ended])
        first = points + np.concatenate([tick, len(ticks) + np.arange(len(step))])
        count = np.concatenate([tokens, alone])
        some = count > 0
        where = np.full(int(some.sum()), replica)
        columns = owner[some], first[some], count[some], where
        found.append(tuple(column.astype(np.int32) for column in columns))
        shared, alone_too = points + len(ticks), points + len(ticks) + len(step)
        times_s[points:shared], times_s[shared:alone_too] = tick_s, alone_s
        step_numbers[points:shared], step_numbers[shared:alone_too] = first_step + ticks, first_step + step
        if drafts is not None:
            drafts[shared:alone_too] = draft[here]
        points = alone_too
        row += n_steps
    times_s, step_numbers = times_s[:points], step_numbers[:points]
    drafts = None if drafts is None else drafts[:points]
    owner, first, count, where = (np.concatenate(column) for column in zip(*found, strict=True))
    found.clear()
    order = np.lexsort((times_s[first], owner))
    segments = TokenSegments(*(column[order] for column in (owner, first, count, where)))

    def unfolded(n: int) -> UnfoldedTokens:
        until, computed = (None, None) if until_s is None or made is None else (until_s[:n], made[:n])
        return UnfoldedTokens(segments, times_s, step_numbers, n, delay, until, computed, drafts)

    every = unfolded(requests)
    return every, every if readers is None else unfolded(readers)


def _points_alone(life: Incarnation) -> int:
    """Return of how many tokens each has a point of its own, or of some that are not given, too."""
    *_, got = draft_columns(life.records)
    return life.records.count("prompt_ends") + int(got.sum())


def readers_leave_s(
    requests: int,
    refused: tuple[Ints, Ints, Floats],
    records: Sequence[Records],
    patience_ends_s: Floats | None,
    horizon_s: float | None,
) -> Floats | None:
    """Return up to when each reader takes tokens, f64[requests] with inf for no limit; None if there is none.

    A reader stays until its request was dropped, failed or refused (``refused`` are request, state and time of
    those that no replica served to their end), until its patience ends (NaN: never), and until the horizon.
    """
    until_s = np.full(requests, np.inf if horizon_s is None else horizon_s)
    if patience_ends_s is not None:
        until_s = np.fmin(until_s, patience_ends_s)
    for request, state, time_s in (refused, *(ended_rows(each) for each in records)):
        early = state != RequestState.COMPLETED
        until_s[request[early]] = np.minimum(time_s[early], until_s[request[early]])
    return None if np.isinf(until_s).all() else until_s
