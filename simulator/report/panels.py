"""Panels of the overview over requests: delivery and latencies; and what all panels share."""

from typing import TYPE_CHECKING

import numpy as np

from simulator.arrays import Ints
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._places import places
from simulator.metrics._reader import clock_start_s, idle_latency_s, stalls, v_s_per_token
from simulator.report.style import BLUE, GREEN, GREY, ORANGE, RED, plain_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 1500  # per curve: more than a screen is wide, so thinning cannot be seen


def draw_delivery(axes: "Axes", whole: RequestLog, user: UserModel, request: int | None, name: str) -> None:
    """Tokens delivered and tokens read against time since arrival, with the user's idle time shaded."""
    axes.set_title("A median reader" if name == "median" else "The most idle reader")
    axes.set_xlabel("time since arrival (s)")
    axes.set_ylabel("tokens")
    if request is None:
        say(axes, "no such request")
        return
    (log,) = whole.rows(request, request + 1).parts()
    arrival_s = log.arrival_s[0]
    delivered_s = log.delivered_s - arrival_s
    v_s = float(v_s_per_token(log, user)[0])
    due_s = float(clock_start_s(log, user)[0] - arrival_s) + v_s * places(log, user)
    # A reader takes each token when it comes to it after the waits so far, or when it comes, if later.
    read_s = due_s + np.maximum(np.maximum.accumulate(delivered_s - due_s), 0.0)
    waits = stalls(log, user)
    idle_from_s, idle_to_s = waits.start_s - arrival_s, waits.end_s - arrival_s
    last_s = float(max([log.end_s[0] - arrival_s, *read_s[-1:]]))

    # What is narrower than the eye tells apart would be a pattern of the screen's own.
    least_s = last_s / 200
    long = idle_to_s - idle_from_s >= least_s
    axes.broken_barh(
        np.column_stack([idle_from_s, idle_to_s - idle_from_s])[long].tolist(),
        (0, 1),
        transform=axes.get_xaxis_transform(),
        facecolor=RED,
        alpha=0.2,
        linewidth=0,
        label=f"nothing to read for {1e3 * least_s:.3g} ms or more",
    )
    for times_s, colour, label in (
        (delivered_s, BLUE, "delivered"),
        (read_s, ORANGE, "read by the user"),
    ):
        count = np.arange(len(times_s) + 2)
        count[-1] = len(times_s)
        x = np.concatenate([[0.0], times_s, [last_s]])
        keep = thinned(len(x))
        axes.step(x[keep], count[keep], where="post", color=colour, label=label)
    axes.set_xlim(0, max(last_s, 1e-3) * 1.02)
    axes.set_ylim(0, max(len(delivered_s), 1) * 1.6)  # room for the names
    idle_s, which = float(idle_latency_s(log, user)[0]), "A median" if name == "median" else "The most idle"
    axes.set_title(f"{which} reader waits {idle_s:.3g} s")
    axes.legend(loc="upper left", borderpad=0.1)
    if not log.completed[0]:
        axes.set_xlabel("time since arrival (s); not completed")


def draw_latencies(axes: "Axes", log: RequestLog) -> None:
    """The share of arrived requests with at most a latency; requests without one keep it below 100 %."""
    axes.set_title("Latency")
    axes.set_xlabel("at most (s)")
    axes.set_ylabel("share of arrived requests (%)")
    axes.set_ylim(0, 145)  # room for the names
    axes.set_yticks([0, 25, 50, 75, 100])
    for values_s, colour, style, label in (
        (log.tpot_s, GREEN, "-.", "TPOT"),
        (log.tbt_max_s, RED, ":", "longest TBT"),
        (log.ttft_s, BLUE, "-", "TTFT"),
        (log.e2e_s, ORANGE, "--", "E2E"),
    ):
        ordered_s = np.sort(values_s[~np.isnan(values_s)])
        if len(ordered_s) == 0:
            continue
        keep = thinned(len(ordered_s))
        at_most = np.concatenate([[0.0], 100 * (keep + 1) / log.n])
        keep = np.concatenate([[0], keep])  # rise from 0 at the smallest, which may be the only one
        # A log scale has no place for 0, which a single step or a zero cost can give.
        axes.step(
            np.maximum(ordered_s[keep], 1e-6),
            at_most,
            where="post",
            color=colour,
            linestyle=style,
            label=label,
        )
    if not axes.lines:
        say(axes, "no tokens delivered")
        return
    axes.set_xscale("log")
    plain_log_scale(axes.xaxis)
    axes.legend(loc="upper left", ncols=2, borderpad=0.1)


def thinned(points: int) -> Ints:
    """Indices of at most _MOST_POINTS evenly spaced points, the first and the last among them."""
    return np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).astype(np.int64))


def say(axes: "Axes", message: str) -> None:
    """Write a message into an empty panel."""
    axes.annotate(message, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=GREY)
