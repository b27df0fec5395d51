"""One picture of a run, drawn from its saved records: delivery, latencies, load, and what it was worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Ints
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import idle_latency_s
from simulator.report.panels import draw_delivery, draw_latencies
from simulator.report.panels_over_time import draw_goodput, draw_in_flight, draw_load, draw_replicas
from simulator.report.style import drawing, picture
from simulator.results.result import Result
from simulator.results.step_totals import LoadOverTime

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec


def overview(result: Result, path: Path) -> None:
    """Draw a run at a glance, and write the PNG to ``path``.

    Raises InputError for a result read from a folder without tokens, OSError when the file cannot be written.
    """
    overview_figure(result).savefig(path, format="png", facecolor="white")


def overview_figure(result: Result) -> "Figure":
    """Return the picture of a run at a glance; raises InputError for a result read from a folder without tokens."""
    load, title = result.load_over_time(), result.manifest["scenario"]["name"]
    return draw(result.log, load, result.usable_blocks, result.user, title, result.scaling_columns)


def draw(
    log: RequestLog,
    load: LoadOverTime | None,
    kv_blocks: Ints,
    user: UserModel,
    title: str,
    scaling: Mapping[str, NDArray[Any]] | None = None,
) -> "Figure":
    """Draw the overview of a run, 1800 x 1140 pixels.

    Top: delivery against reading for the requests with the lowest, median and highest idle latency. Bottom:
    latency distributions, load and KV cache over time, throughput beside smooth goodput over time.

    ``kv_blocks`` are those of each replica; without any it is a real server, of which what is in flight is shown.
    With ``scaling`` (columns as ``simulator.cluster.autoscaler`` makes them) there is a strip with the number of
    replicas, and KV blocks count while their replica is in service. Anything may be empty. A log whose tokens are too
    many to be kept is gone through once, part by part.
    """
    picks = _three_requests(log, user)
    with drawing():
        figure = picture(9.0, 5.7)
        figure.set_layout_engine("none")
        figure.suptitle(title, fontsize=11, x=0.012, y=0.985, ha="left", va="top")
        # Fixed margins keep the six panels equally wide, whatever their labels.
        grid = figure.add_gridspec(
            2, 3, left=0.06, right=0.985, bottom=0.075, top=0.86, wspace=0.29, hspace=0.36
        )
        for column, name in enumerate(("lowest", "median", "highest")):
            draw_delivery(figure.add_subplot(grid[0, column]), log, user, picks.get(name), name)
        keys = max(
            (axes.get_legend_handles_labels() for axes in figure.axes), key=lambda found: len(found[0])
        )
        figure.legend(*keys, loc="upper right", bbox_to_anchor=(0.99, 0.955), ncols=3, borderpad=0)
        draw_latencies(figure.add_subplot(grid[1, 0]), log)
        if len(kv_blocks):
            _draw_load(figure, grid[1, 1], log, load, kv_blocks, scaling)
        else:
            draw_in_flight(figure.add_subplot(grid[1, 1]), log)
        draw_goodput(figure.add_subplot(grid[1, 2]), log, user)
    return figure


def _draw_load(
    figure: "Figure",
    place: "SubplotSpec",
    log: RequestLog,
    load: LoadOverTime | None,
    kv_blocks: Ints,
    scaling: Mapping[str, NDArray[Any]] | None,
) -> None:
    """Draw the panels of load, KV cache and replicas above one another."""
    heights = (3, 2) if scaling is None else (3, 2, 2)
    middle = place.subgridspec(len(heights), 1, height_ratios=heights, hspace=0.12)
    queue_axes = figure.add_subplot(middle[0])
    kv_axes = figure.add_subplot(middle[1], sharex=queue_axes)
    draw_load(queue_axes, kv_axes, log, load, kv_blocks, scaling)
    if scaling is not None:
        kv_axes.tick_params(labelbottom=False)
        kv_axes.set_xlabel("")
        kv_axes.set_ylabel("KV (%)")
        draw_replicas(figure.add_subplot(middle[2], sharex=queue_axes), log, scaling)


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
