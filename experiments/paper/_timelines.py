"""Timelines of single requests: a reader who goes token by token, and how delivery and reading are drawn."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from simulator.arrays import Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.report.style import BLACK, BLUE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def waits(delivered_s: Floats, v_s_per_token: float, start_s: float = 0.0) -> list[tuple[float, float]]:
    """Let a reader take one token every V seconds from ``start_s`` on; return from when to when it waited for one.

    It goes token by token and knows nothing of d_i: the check of what is computed from deadlines.
    """
    wants_s, found = start_s, []
    for came_s in delivered_s.tolist():
        wants_s += v_s_per_token
        if came_s > wants_s:
            found.append((wants_s, came_s))
            wants_s = came_s
    return found


def waited_s(log: RequestLog, user: UserModel) -> Floats:
    """Return how long the reader of each request waits in all, f64[n], as ``waits`` has it; all must have tokens."""
    first = log.token_offsets[:-1]
    start_s = log.delivered_s[first] if user.origin == "first_token" else log.arrival_s
    wants_s, waited = start_s + user.v_s_per_token, np.zeros(log.n)
    for place in range(int(log.token_counts.max())):
        mine = np.flatnonzero(log.token_counts > place)
        wait_s = np.maximum(log.delivered_s[first[mine] + place] - wants_s[mine], 0.0)
        waited[mine] += wait_s
        wants_s[mine] += wait_s + user.v_s_per_token
    return waited


def tokens_of(log: RequestLog, request: int) -> Floats:
    """Return when the tokens of a request came, in seconds after its arrival."""
    start, end = log.token_offsets[request : request + 2]
    return np.asarray(log.delivered_s[start:end] - log.arrival_s[request])


def draw_timeline(
    panel: "Axes", delivered_s: Floats, v_s_per_token: float, *, reading: bool = False
) -> list[tuple[float, float]]:
    """Draw tokens delivered and due against seconds after the arrival, and shade the waits, which are returned.

    With ``reading`` there is what has been read in place of what is due: the reader stops where nothing is there.
    """
    found = waits(delivered_s, v_s_per_token)
    panel.broken_barh(
        [(start, end - start) for start, end in found],
        (0, 1),
        transform=panel.get_xaxis_transform(),
        facecolor=RED,
        alpha=0.3,
        linewidth=0,
        label="reader waits",
    )
    place = np.arange(1, len(delivered_s) + 1)
    due_s = v_s_per_token * place
    panel.step(_from_zero(delivered_s), _from_zero(place), where="post", color=BLUE, label="delivered")
    if reading:
        read_s = due_s + np.maximum(np.maximum.accumulate(delivered_s - due_s), 0.0)
        panel.step(
            _from_zero(read_s), _from_zero(place), where="post", color=BLACK, linestyle="--", label="read"
        )
    else:
        panel.plot(
            _from_zero(due_s),
            _from_zero(place),
            color=BLACK,
            linestyle="--",
            label=f"due: d_i = V i, {1 / v_s_per_token:g} tokens/s",
        )
    panel.set_xlabel("time since the arrival (s)")
    panel.set_ylabel("tokens")
    panel.set_xlim(left=0)
    panel.set_ylim(0, 1.08 * len(delivered_s))
    return found


def _from_zero(values: ArrayLike) -> Floats:
    return np.concatenate([[0.0], np.asarray(values, np.float64)])
