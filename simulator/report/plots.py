"""One picture of a run, drawn from its saved records: delivery, latencies, load, and what it was worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import Stalls, clock_start_s, idle_latency_s, penalty, stalls
from simulator.metrics._segments import Floats, Ints
from simulator.results.billing import mean_over_bins
from simulator.results.result import Result
from simulator.results.step_totals import Load, bin_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6E6E6E"
_MOST_POINTS = 1500  # per curve: more than a screen is wide, so thinning cannot be seen


def overview(result: Result, path: Path) -> None:
    """Draw a run at a glance, and write the PNG to ``path``.

    Raises InputError for a result read from a folder without tokens, OSError when the file cannot be written.
    """
    load = result.load_over_time()
    draw(
        result.log,
        load,
        result.usable_blocks,
        result.user,
        path,
        result.manifest["scenario"]["name"],
        result.scaling_columns,
    )


def draw(
    log: RequestLog,
    load: Load | None,
    kv_blocks: Ints,
    user: UserModel,
    path: Path,
    title: str,
    scaling: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Draw the overview of a run as one PNG, 1800 x 1140 pixels, and write it to ``path``.

    Top: delivery against reading for the requests with the lowest, median and highest idle latency. Bottom:
    latency distributions, load and KV cache over time, throughput beside smooth goodput over time.

    ``kv_blocks`` are those of each replica. With ``scaling`` (columns as ``simulator.cluster.autoscaler`` makes them)
    there is a strip with the number of replicas, and KV blocks count while their replica is in service.
    Anything may be empty. A log whose tokens are too many to be kept is gone through once, part by part.
    Raises OSError when the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picks = _three_requests(log, user)
    with rc_context(_STYLE):
        figure = Figure(figsize=(12, 7.6), dpi=150)
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.012, y=0.985, ha="left", va="top")
        # Fixed margins keep the six panels equally wide, whatever their labels.
        grid = figure.add_gridspec(
            2, 3, left=0.06, right=0.985, bottom=0.075, top=0.86, wspace=0.29, hspace=0.36
        )
        for column, name in enumerate(("lowest", "median", "highest")):
            _draw_delivery(figure.add_subplot(grid[0, column]), log, user, picks.get(name), name)
        keys = max(
            (axes.get_legend_handles_labels() for axes in figure.axes), key=lambda found: len(found[0])
        )
        figure.legend(*keys, loc="upper right", bbox_to_anchor=(0.99, 0.955), ncols=3, borderpad=0)
        _draw_latencies(figure.add_subplot(grid[1, 0]), log)
        heights = (3, 2) if scaling is None else (3, 2, 2)
        middle = grid[1, 1].subgridspec(len(heights), 1, height_ratios=heights, hspace=0.12)
        queue_axes = figure.add_subplot(middle[0])
        kv_axes = figure.add_subplot(middle[1], sharex=queue_axes)
        _draw_load(queue_axes, kv_axes, log, load, kv_blocks, scaling)
        if scaling is not None:
            kv_axes.tick_params(labelbottom=False)
            kv_axes.set_xlabel("")
            kv_axes.set_ylabel("KV (%)")
            _draw_replicas(figure.add_subplot(middle[2], sharex=queue_axes), log, scaling)
        _draw_goodput(figure.add_subplot(grid[1, 2]), log, user)
        figure.savefig(path)


# The keys are matplotlib's, whose type for them differs from version to version.
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}


def _three_requests(log: RequestLog, user: UserModel) -> dict[str, int]:
    """Name the requests to show; fewer than three when fewer arrived."""
    if log.n == 0:
        return {}
    # Among equally idle requests (often many with none) the one of the most usual length is shown.
    unusual = np.abs(log.token_counts - np.median(log.token_counts))
    order = np.lexsort((unusual, idle_latency_s(log, user)))
    picks = {"highest": int(order[-1])}
    if log.n > 1:
        picks["lowest"] = int(order[0])
    if log.n > 2:
        picks["median"] = int(order[log.n // 2])
    return picks


def _draw_delivery(axes: "Axes", whole: RequestLog, user: UserModel, request: int | None, name: str) -> None:
    """Tokens delivered and tokens read against time since arrival, with the user's idle time shaded."""
    axes.set_title(f"{name.capitalize()} idle latency")
    axes.set_xlabel("time since arrival (s)")
    axes.set_ylabel("tokens")
    if request is None:
        _say(axes, "no such request")
        return
    (log,) = whole.rows(request, request + 1).parts()
    arrival_s = log.arrival_s[0]
    delivered_s = log.delivered_s - arrival_s
    read_s = _reading_s(delivered_s, float(clock_start_s(log, user)[0] - arrival_s), user.v_s_per_token)
    waits = stalls(log, user)
    idle_from_s, idle_to_s = waits.start_s - arrival_s, waits.end_s - arrival_s
    last_s = float(max([log.end_s[0] - arrival_s, *read_s[-1:]]))

    axes.broken_barh(
        np.column_stack([idle_from_s, idle_to_s - idle_from_s]).tolist(),
        (0, 1),
        transform=axes.get_xaxis_transform(),
        facecolor=_RED,
        alpha=0.2,
        linewidth=0,
        label="nothing to read",
    )
    for times_s, colour, label in (
        (delivered_s, _BLUE, "delivered"),
        (read_s, _ORANGE, f"read by the user, {user.v_s_per_token:g} s a token"),
    ):
        count = np.arange(len(times_s) + 2)
        count[-1] = len(times_s)
        x = np.concatenate([[0.0], times_s, [last_s]])
        keep = _thinned(len(x))
        axes.step(x[keep], count[keep], where="post", color=colour, label=label)
    axes.set_xlim(0, max(last_s, 1e-3) * 1.02)
    axes.set_ylim(0, max(len(delivered_s), 1) * 1.05)
    axes.set_title(f"{name.capitalize()} idle latency: {float((idle_to_s - idle_from_s).sum()):.3g} s")
    if not log.completed[0]:
        axes.set_xlabel("time since arrival (s); not completed")


def _reading_s(delivered_s: Floats, clock_s: float, v_s_per_token: float) -> Floats:
    """When a steady reader takes each token: V after the one before, or when it comes, if later."""
    due_s: Floats = clock_s + v_s_per_token * np.arange(1.0, len(delivered_s) + 1)
    return due_s + np.maximum(np.maximum.accumulate(delivered_s - due_s), 0.0)


def _draw_latencies(axes: "Axes", log: RequestLog) -> None:
    """The share of arrived requests with at most a latency; requests without one keep it below 100 %."""
    axes.set_title("Latency")
    axes.set_xlabel("at most (s, log scale)")
    axes.set_ylabel("share of arrived requests (%)")
    axes.set_ylim(0, 103)
    for values_s, colour, style, label in (
        (log.tpot_s, _GREEN, "-.", "TPOT"),
        (log.ttft_s, _BLUE, "-", "TTFT"),
        (log.e2e_s, _ORANGE, "--", "E2E"),
    ):
        ordered_s = np.sort(values_s[~np.isnan(values_s)])
        if len(ordered_s) == 0:
            continue
        keep = _thinned(len(ordered_s))
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
        _say(axes, "no tokens delivered")
        return
    axes.set_xscale("log")
    axes.legend(loc="best")


def _draw_load(
    queue_axes: "Axes",
    kv_axes: "Axes",
    log: RequestLog,
    load: Load | None,
    kv_blocks: Ints,
    scaling: Mapping[str, NDArray[Any]] | None,
) -> None:
    """Requests running and waiting, and the share of KV blocks in use, as means over time bins."""
    queue_axes.set_title("Load")
    queue_axes.set_ylabel("requests")
    queue_axes.tick_params(labelbottom=False)
    _label_time(kv_axes, log)
    kv_axes.set_ylabel("KV in use (%)")
    kv_axes.set_ylim(0, 105)
    kv_axes.set_yticks([0, 50, 100])
    if load is None:
        _say(queue_axes, "no steps")
        return
    most = 1.0
    for mean, colour, label in ((load.running, _BLUE, "running"), (load.waiting, _RED, "waiting")):
        most = max(most, float(mean.max()))
        queue_axes.stairs(mean, load.edges_s, baseline=None, color=colour, linewidth=1.6, label=label)
    queue_axes.set_ylim(0, 1.25 * most)
    queue_axes.legend(loc="upper left", ncols=2)
    edges = load.edges_s
    there = np.full(len(edges) - 1, float(kv_blocks.sum()))
    if scaling is not None:
        scaled = scaling["replica"]
        there -= kv_blocks[np.unique(scaled)].sum()
        there += mean_over_bins(scaling["ready_s"], scaling["released_s"], edges, kv_blocks[scaled])
    used = 100 * load.kv_blocks_used / np.maximum(there, 1)
    kv_axes.stairs(used, edges, fill=True, color=_GREEN, alpha=0.35)
    kv_axes.stairs(used, edges, baseline=None, color=_GREEN)


def _draw_replicas(axes: "Axes", log: RequestLog, scaling: Mapping[str, NDArray[Any]]) -> None:
    """Replicas that are paid for, and those in service, as means over time bins."""
    _label_time(axes, log)
    axes.set_ylabel("replicas")
    edges = bin_edges(log.arrival_s, log.end_s)
    if edges is None:
        return
    paid = mean_over_bins(scaling["billed_from_s"], scaling["released_s"], edges)
    serving = mean_over_bins(scaling["ready_s"], scaling["released_s"], edges)
    axes.stairs(paid, edges, fill=True, color=_GREY, alpha=0.3, label="paid for")
    axes.stairs(serving, edges, baseline=None, color=_BLUE, linewidth=1.6, label="in service")
    axes.set_ylim(0, 1.9 * max(1.0, float(paid.max())))
    axes.legend(loc="upper left", ncols=2, borderpad=0.1)


def _draw_goodput(axes: "Axes", log: RequestLog, user: UserModel) -> None:
    """Tokens delivered per second, and the same less what waiting cost the users in that time."""
    axes.set_title("Throughput and smooth goodput")
    _label_time(axes, log)
    axes.set_ylabel("tokens/s")
    edges = bin_edges(log.arrival_s, log.end_s)
    if edges is None:
        _say(axes, "nothing happened")
        return
    width_s = edges[1] - edges[0]
    counts, cost = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for part in log.parts():
        counts += np.histogram(part.delivered_s, edges)[0]
        cost += _penalty_over_bins(stalls(part, user), user, edges)
    delivered, cost = counts / width_s, cost / width_s
    served = log.token_counts > 0
    prompts = np.histogram(log.first_token_s[served], edges, weights=log.prompt_tokens[served])[0] / width_s
    benefit = user.weight_output * delivered + user.weight_input * prompts - cost
    axes.axhline(0, color=_GREY, linewidth=0.9)
    axes.stairs(
        delivered, edges, baseline=benefit, fill=True, color=_RED, alpha=0.15, label="cost of waiting"
    )
    axes.stairs(delivered, edges, baseline=None, color=_BLUE, linewidth=1.6, label="throughput")
    axes.stairs(
        benefit,
        edges,
        baseline=None,
        color=_ORANGE,
        linewidth=1.6,
        label=f"smooth goodput: {user.f} f, alpha {user.alpha_tokens:g}",
    )
    lowest, highest = min(0.0, float(benefit.min())), max(1.0, float(delivered.max()), float(benefit.max()))
    axes.set_ylim(1.05 * lowest, highest + 0.35 * (highest - lowest))
    axes.legend(loc="upper left", borderpad=0.1)


def _penalty_over_bins(waits: Stalls, user: UserModel, edges: Floats) -> Floats:
    """The tokens that waiting cost in each bin; the cost of a stall is spread evenly over its time."""
    cost = penalty(waits.idle_after_s, user) - penalty(waits.idle_before_s, user)
    length_s = np.maximum(waits.end_s - waits.start_s, 1e-9)
    slope = cost / length_s
    # The cost up to time t is Σ slope·(t − start) over stalls begun, less Σ slope·(t − end) over stalls over.
    accrued = np.zeros(len(edges))
    for times_s, sign in ((waits.end_s - length_s, 1.0), (waits.end_s, -1.0)):
        next_edge = np.searchsorted(edges, times_s)
        slopes = np.cumsum(np.bincount(next_edge, slope, minlength=len(edges))[: len(edges)])
        weighted = np.cumsum(np.bincount(next_edge, slope * times_s, minlength=len(edges))[: len(edges)])
        accrued += sign * (edges * slopes - weighted)
    return np.diff(accrued)


def _label_time(axes: "Axes", log: RequestLog) -> None:
    """Label the axis of simulated time in seconds, or in hours where there are many."""
    edges = bin_edges(log.arrival_s, log.end_s)
    hours = 0.0 if edges is None else float(edges[-1] - edges[0]) / 3600
    if hours <= 3:
        axes.set_xlabel("simulated time (s)")
        axes.locator_params(axis="x", nbins=5)
        return
    axes.set_xlabel("simulated time (h)")
    from matplotlib.ticker import MultipleLocator

    apart = next(each for each in (1, 2, 3, 6, 12, 24, 48, 168, hours) if each >= hours / 6)
    axes.xaxis.set_major_locator(MultipleLocator(3600 * apart))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds / 3600:g}")


def _thinned(points: int) -> Ints:
    """Indices of at most _MOST_POINTS evenly spaced points, the first and the last among them."""
    return np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).astype(np.int64))


def _say(axes: "Axes", message: str) -> None:
    axes.annotate(message, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=_GREY)
