"""Lines with their intervals, as studies of systems draw them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.arrays import Floats
from simulator.report.style import COLOURS
from simulator.stats import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLOSE = 1.4  # how far ticks stand apart at least
STYLES = (
    ("-", "o"),
    ("--", "s"),
    ("-.", "^"),
    (":", "D"),
)  # beside the colours, so that lines differ in grey


def line(panel: "Axes", x: Sequence[float], values: Sequence[Interval], label: str, place: int) -> None:
    """Draw means and their 95 % intervals in the look of that place."""
    style, marker = STYLES[place]
    colour = COLOURS[place]
    panel.plot(
        x,
        [each.mean for each in values],
        color=colour,
        linestyle=style,
        marker=marker,
        markersize=2.5,
        label=label,
    )
    if all(each.known for each in values):
        panel.fill_between(
            x,
            [each.low for each in values],
            [each.high for each in values],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )


def lines(panel: "Axes", x: Sequence[float], values: Mapping[str, Sequence[Floats]]) -> None:
    """Draw a line for each label: at each x the mean over seeds of f64[seeds], and its interval."""
    for place, (label, mine) in enumerate(values.items()):
        line(panel, x, [interval(each.tolist()) for each in mine], label, place)


def on_log_scale(panel: "Axes", values: Sequence[float]) -> None:
    """Scale the horizontal axis logarithmically, with ticks at values of which none stands too close to the next."""
    ticks = list(values[-1:])
    for value in reversed(values[:-1]):
        if value * CLOSE <= ticks[-1]:
            ticks.append(value)
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
