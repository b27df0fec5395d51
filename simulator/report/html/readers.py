"""All that the page needs to score a run for another V, S, alpha and origin, and to look up requests."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.metrics import RequestLog, UserModel
from simulator.metrics._accrued import tokens_before_window, tokens_by_window_end
from simulator.metrics._places import curve_of, is_steady, thinking_tokens
from simulator.metrics._reader import asking_again_s, worth_tokens
from simulator.report.html.envelopes import Envelopes, Points, envelopes, points_of, scale_of
from simulator.report.html.packed import packed, packed_floats

_ARRIVALS_S = 1e-3  # to which times of arrival are kept, which are only looked up


def readers(measured: RequestLog, user: UserModel) -> dict[str, Any]:
    """Return what the page computes idle latencies and smooth goodput from, for JSON.

    ``envelopes`` has a row a request of the run, as it was at its end, in order of arrival. Requests that were not over
    when the measured window ended or began have a row of their own for what they were then (``end``, ``start``).
    The log must have its tokens, or be able to go through them part by part.
    """
    log = measured.all
    start = _Cut(log, user, float(np.nextafter(log.start_s, -np.inf)))
    end = _Cut(log, user, log.end_of_run_s)
    scale = scale_of(log, user)
    rows = [envelopes(_points(log, user, cut), scale) for cut in (None, end, start)]
    place, time, counts, first_read = (np.concatenate([each[i] for each in rows]) for i in range(4))
    joined = Envelopes(place, time, counts, first_read, scale)
    nothing = np.zeros(log.n)
    worth = worth_tokens(log, user, tokens_by_window_end(log), nothing)
    worth -= worth_tokens(log, user, tokens_before_window(log), nothing)
    again = asking_again_s(replace(log, v_s_per_token=None), replace(user, v_s_per_token=1.0, alpha=1.0))
    plain = (user.weight_input, user.weight_output, user.weight_thinking) == (0, 1, None)
    first = measured.trimmed_warmup
    return {
        "user": {
            "described": user.described,
            "v_s": user.v_s_per_token,
            "s_s": user.first_token_allowance_s,
            "alpha": user.alpha,
            "origin": user.origin,
            "f": user.f,
            "f_scale_s": user.f_scale_s,
            "curve": _curve(log, user),
        },
        "requests": log.n,
        "measured": [first, first + measured.n],
        "window_s": log.window_s,
        "worth_tokens": float(worth.sum()),
        "worth_each": None if plain else packed_floats(worth_tokens(log, user, log.token_counts, nothing)),
        "envelopes": joined.document(),
        "end": end.document(log.n),
        "start": start.document(log.n + len(end.rows)),
        "again": {"rows": packed(np.flatnonzero(again)), "places": packed_floats(again[again > 0])},
        "incomplete": packed(np.flatnonzero(~log.completed)),
        "own_s_s": None
        if log.first_token_allowance_s is None
        else packed_floats(log.first_token_allowance_s),
        "own_v_s": None if log.v_s_per_token is None else packed_floats(log.v_s_per_token),
        "thinking": None if is_steady(log, user) else packed(thinking_tokens(log, user)),
        "tokens": packed(log.token_counts),
        "prompts": packed(log.prompt_tokens),
        "arrivals_ms": packed(np.diff(np.rint(log.arrival_s / _ARRIVALS_S).astype(np.int64), prepend=0)),
    }


def _curve(log: RequestLog, user: UserModel) -> dict[str, float | None] | None:
    """Return how readers go through an answer, where they are not steady; a unit without end is None."""
    if is_steady(log, user):
        return None
    curve = curve_of(user)
    return curve._asdict() | {"unit_tokens": None if math.isinf(curve.unit_tokens) else curve.unit_tokens}


class _Cut:
    """The requests that a moment found in another state than their last."""

    def __init__(self, log: RequestLog, user: UserModel, at_s: float) -> None:
        over = (log.end_s <= at_s) & ~(log.last_token_s > at_s)
        if user.unserved == "wait_to_end":  # for whom the wait goes on after they have left
            over &= log.completed
        self.at_s = at_s
        self.chosen = (log.arrival_s <= at_s) & ~over
        self.rows = np.flatnonzero(self.chosen)
        self._left = log.end_s[self.rows] <= at_s
        self._absent = np.flatnonzero(log.arrival_s > at_s)

    def document(self, first_row: int) -> dict[str, Any]:
        """Return who they are, where their rows begin, which had left by then, and who had not arrived."""
        return {
            "requests": packed(self.rows),
            "first_row": first_row,
            "left": packed(self._left),
            "absent": packed(self._absent),
        }


def _points(log: RequestLog, user: UserModel, cut: _Cut | None) -> Iterator[Points]:
    """Yield the points of requests some at a time: of all at their ends, or of those of a cut at its moment."""
    begins = 0
    for part in log.parts():
        chosen = np.ones(part.n, np.bool_) if cut is None else cut.chosen[begins : begins + part.n]
        begins += part.n
        if chosen.any():
            yield points_of(part, user, None if cut is None else cut.at_s, chosen)
