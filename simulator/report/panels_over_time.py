"""Panels of the overview over time: load, replicas, throughput and smooth goodput."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Floats, Ints
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._places import is_thinking
from simulator.metrics._reader import Stalls, alpha_tokens, penalty, stalls
from simulator.report.panels import say
from simulator.report.style import BLUE, GREEN, GREY, ORANGE, RED
from simulator.results.billing import mean_over_bins
from simulator.results.step_totals import LoadOverTime, bin_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_load(
    queue_axes: "Axes",
    kv_axes: "Axes",
    log: RequestLog,
    load: LoadOverTime | None,
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
        say(queue_axes, "no steps")
        return
    most = 1.0
    for mean, colour, label in ((load.running, BLUE, "running"), (load.waiting, RED, "waiting")):
        most = max(most, float(mean.max()))
        queue_axes.stairs(mean, load.edges_s, baseline=None, color=colour, linewidth=1.2, label=label)
    queue_axes.set_ylim(0, 1.25 * most)
    queue_axes.legend(loc="upper left", ncols=2)
    edges = load.edges_s
    there = np.full(len(edges) - 1, float(kv_blocks.sum()))
    if scaling is not None:
        scaled = scaling["replica"]
        there -= kv_blocks[np.unique(scaled)].sum()
        there += mean_over_bins(scaling["ready_s"], scaling["released_s"], edges, kv_blocks[scaled])
    used = 100 * load.kv_blocks_used / np.maximum(there, 1)
    kv_axes.stairs(used, edges, fill=True, color=GREEN, alpha=0.35)
    kv_axes.stairs(used, edges, baseline=None, color=GREEN)


def draw_in_flight(axes: "Axes", log: RequestLog) -> None:
    """Requests that wait for their first token and those that get more, as a client sees them: means over time bins."""
    axes.set_title("In flight")
    axes.set_ylabel("requests")
    _label_time(axes, log)
    edges = bin_edges(log.arrival_s, log.end_s)
    if edges is None:
        say(axes, "no requests")
        return
    began_s = np.where(np.isnan(log.first_token_s), log.end_s, log.first_token_s)
    waiting, streaming = (
        mean_over_bins(log.arrival_s, began_s, edges),
        mean_over_bins(began_s, log.end_s, edges),
    )
    for mean, colour, label in (
        (streaming, BLUE, "getting tokens"),
        (waiting, RED, "waiting for the first"),
    ):
        axes.stairs(mean, edges, baseline=None, color=colour, linewidth=1.2, label=label)
    axes.set_ylim(0, 1.25 * max(1.0, float(waiting.max()), float(streaming.max())))
    axes.legend(loc="upper left", ncols=2)


def draw_replicas(axes: "Axes", log: RequestLog, scaling: Mapping[str, NDArray[Any]]) -> None:
    """Replicas that are paid for, and those in service, as means over time bins."""
    _label_time(axes, log)
    axes.set_ylabel("replicas")
    edges = bin_edges(log.arrival_s, log.end_s)
    if edges is None:
        return
    paid = mean_over_bins(scaling["billed_from_s"], scaling["released_s"], edges)
    serving = mean_over_bins(scaling["ready_s"], scaling["released_s"], edges)
    axes.stairs(paid, edges, fill=True, color=GREY, alpha=0.3, label="paid for")
    axes.stairs(serving, edges, baseline=None, color=BLUE, linewidth=1.2, label="in service")
    axes.set_ylim(0, 1.9 * max(1.0, float(paid.max())))
    axes.legend(loc="upper left", ncols=2, borderpad=0.1)


def draw_goodput(axes: "Axes", log: RequestLog, user: UserModel) -> None:
    """Tokens delivered per second, and the same less what waiting cost the users in that time."""
    axes.set_title("Throughput and smooth goodput")
    _label_time(axes, log)
    axes.set_ylabel("tokens/s")
    edges = bin_edges(log.arrival_s, log.end_s)
    if edges is None:
        say(axes, "nothing happened")
        return
    width_s = edges[1] - edges[0]
    counts, cost = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for part in log.parts():
        counts += np.histogram(part.delivered_s, edges)[0]
        if user.weight_thinking is not None:
            unread_s = part.delivered_s[is_thinking(part, user)]
            cost += (user.weight_output - user.weight_thinking) * np.histogram(unread_s, edges)[0]
        cost += _penalty_over_bins(stalls(part, user), user, edges, alpha_tokens(part, user))
    delivered, cost = counts / width_s, cost / width_s
    served = log.token_counts > 0
    prompts = np.histogram(log.first_token_s[served], edges, weights=log.prompt_tokens[served])[0] / width_s
    benefit = user.weight_output * delivered + user.weight_input * prompts - cost
    axes.axhline(0, color=GREY, linewidth=0.9)
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:,.0f}" if abs(rate) >= 10 else f"{rate:g}")
    axes.stairs(delivered, edges, baseline=benefit, fill=True, color=RED, alpha=0.18, label="cost of waiting")
    # Wide and below: where both are equal it still shows on either side of the goodput.
    axes.stairs(delivered, edges, baseline=None, color=BLUE, linewidth=2.6, alpha=0.45, label="throughput")
    axes.stairs(
        benefit,
        edges,
        baseline=None,
        color=ORANGE,
        linewidth=1.2,
        label=f"smooth goodput ({user.f} f, alpha {user.alpha_tokens:g})",
    )
    lowest, highest = min(0.0, float(benefit.min())), max(float(delivered.max()), float(benefit.max())) or 1.0
    axes.set_ylim(1.05 * lowest, highest + 0.25 * (highest - lowest))
    axes.legend(
        loc="upper left", ncols=3, borderpad=0.1, columnspacing=0.8, handlelength=1.4, handletextpad=0.5
    )


def _penalty_over_bins(waits: Stalls, user: UserModel, edges: Floats, alpha: Floats | None = None) -> Floats:
    """The tokens that waiting cost in each bin; the cost of a stall is spread evenly over its time.

    ``alpha`` is the weight of the penalty of each request, where they have their own.
    """
    weight = None if alpha is None else alpha[waits.request]
    cost = penalty(waits.idle_after_s, user, weight) - penalty(waits.idle_before_s, user, weight)
    at_once = waits.end_s <= waits.start_s
    sudden: Floats = np.histogram(waits.end_s[at_once], edges, weights=cost[at_once])[0]
    cost = np.where(at_once, 0.0, cost)
    length_s = np.maximum(waits.end_s - waits.start_s, 1e-9)
    slope = cost / length_s
    # The cost up to time t is Σ slope·(t − start) over stalls begun, less Σ slope·(t − end) over stalls over.
    accrued = np.zeros(len(edges))
    for times_s, sign in ((waits.end_s - length_s, 1.0), (waits.end_s, -1.0)):
        next_edge = np.searchsorted(edges, times_s)
        slopes = np.cumsum(np.bincount(next_edge, slope, minlength=len(edges))[: len(edges)])
        weighted = np.cumsum(np.bincount(next_edge, slope * times_s, minlength=len(edges))[: len(edges)])
        accrued += sign * (edges * slopes - weighted)
    return np.diff(accrued) + sudden


def _label_time(axes: "Axes", log: RequestLog) -> None:
    """Label the axis of time in seconds, or in hours where there are many."""
    edges = bin_edges(log.arrival_s, log.end_s)
    hours = 0.0 if edges is None else float(edges[-1] - edges[0]) / 3600
    if hours <= 3:
        axes.set_xlabel("time (s)")
        axes.locator_params(axis="x", nbins=5)
        return
    axes.set_xlabel("time (h)")
    from matplotlib.ticker import MultipleLocator

    apart = next(each for each in (1, 2, 3, 6, 12, 24, 48, 168, hours) if each >= hours / 6)
    axes.xaxis.set_major_locator(MultipleLocator(3600 * apart))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds / 3600:g}")
