"""One picture of a run, drawn from its saved records: delivery, latencies, load, and what it was worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Ints
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import idle_latency_s
from simulator.report.headline import Card, cards, draw_headline, title
from simulator.report.panels import draw_delivery, draw_latencies
from simulator.report.panels_over_time import draw_goodput, draw_in_flight, draw_load, draw_replicas
from simulator.report.style import drawing, picture
from simulator.results.result import Result
from simulator.results.step_totals import LoadOverTime

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec


def overview(result: Result, path: Path, kind: Literal["png", "svg"] = "png") -> None:
    """Draw a run at a glance, and write a PNG or an SVG to ``path``.

    Raises InputError for a result read from a folder without tokens, OSError when the file cannot be written.
    """
    overview_figure(result).savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)


def overview_figure(result: Result) -> "Figure":
    """Return the picture of a run at a glance; raises InputError for a result read from a folder without tokens."""
    summary = result.summary()
    titled, log, load = title(result.manifest, summary), result.log, result.load_over_time()
    return draw(log, load, result.usable_blocks, result.user, titled, cards(summary), result.scaling_columns)


def draw(
    log: RequestLog,
    load: LoadOverTime | None,
    kv_blocks: Ints,
    user: UserModel,
    titled: tuple[str, str],
    numbers: Sequence[Card] = (),
    scaling: Mapping[str, NDArray[Any]] | None = None,
) -> "Figure":
    """Draw the overview of a run, 1800 x 1240 pixels.

    Top: title, a line below it, and the few numbers that a run is known by. Then delivery against reading for the
    requests with the median and the highest idle latency, and latency distributions. Bottom: load and KV cache over
    time, throughput and smooth goodput over time.

    ``kv_blocks`` are those of each replica; without any it is a real server, of which what is in flight is shown.
    With ``scaling`` (columns as ``simulator.cluster.autoscaler`` makes them) there is a strip with the number of
    replicas, and KV blocks count while their replica is in service. Anything may be empty. A log whose tokens are too
    many to be kept is gone through once, part by part.
    """
    picks = _two_requests(log, user)
    with drawing():
        figure = picture(9.0, 6.2)
        figure.set_layout_engine("none")  # fixed margins keep panels equally wide, whatever their labels
        draw_headline(figure, titled, list(numbers), top=0.982, left=0.012)
        margins = {"left": 0.062, "right": 0.988}
        top = figure.add_gridspec(1, 3, bottom=0.475, top=0.735, wspace=0.27, **margins)
        for column, name in enumerate(("median", "highest")):
            draw_delivery(figure.add_subplot(top[0, column]), log, user, picks.get(name), name)
        draw_latencies(figure.add_subplot(top[0, 2]), log)
        bottom = figure.add_gridspec(1, 2, bottom=0.075, top=0.365, wspace=0.16, **margins)
        if len(kv_blocks):
            _draw_load(figure, bottom[0, 0], log, load, kv_blocks, scaling)
        else:
            draw_in_flight(figure.add_subplot(bottom[0, 0]), log)
        draw_goodput(figure.add_subplot(bottom[0, 1]), log, user)
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
    figure.align_ylabels([queue_axes, kv_axes])
    if scaling is not None:
        kv_axes.tick_params(labelbottom=False)
        kv_axes.set_xlabel("")
        kv_axes.set_ylabel("KV (%)")
        draw_replicas(figure.add_subplot(middle[2], sharex=queue_axes), log, scaling)


def _two_requests(log: RequestLog, user: UserModel) -> dict[str, int]:
    """Name the requests to show; fewer than two when fewer arrived."""
    if log.n == 0:
        return {}
    # Among equally idle requests (often many with none) the one of the most usual length is shown.
    unusual = np.abs(log.token_counts - np.median(log.token_counts))
    order = np.lexsort((unusual, idle_latency_s(log, user)))
    picks = {"highest": int(order[-1])}
    if log.n > 1:
        picks["median"] = int(order[(log.n - 1) // 2])
    return picks
