"""How the sweeps over rates are drawn: one look for each engine, one panel for each model and traffic."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.paper._reproduce import axes, label_panels
from experiments.paper._sweeps import Sweep
from simulator.arrays import Floats
from simulator.report.style import BLUE, RED
from simulator.stats import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Look(NamedTuple):
    """Line and marker of an engine, which tell it apart in grey too."""

    color: str
    linestyle: str
    marker: str


LOOKS = {
    "vLLM 0.5": Look(RED, "--", "s"),
    "vLLM 0.5, chunked": Look(RED, "-", "D"),
    "vLLM 0.24, unchunked": Look(BLUE, "--", "^"),
    "vLLM 0.24": Look(BLUE, "-", "o"),
}


def grid_of(
    panels: Mapping[tuple[str, str], Sequence[Sweep]], height_in: float
) -> "tuple[Figure, dict[tuple[str, str], Axes]]":
    """Return a figure of smooth goodput, a row for each model and a column for each traffic, and its panels, titled."""
    models, traffic = (list(dict.fromkeys(key[i] for key in panels)) for i in range(2))
    figure, grid = axes(len(models), len(traffic), width="text", height_in=height_in)
    found = {}
    for i, model in enumerate(models):
        for j, kind in enumerate(traffic):
            panel = grid[i, j]
            panel.set_title(f"{model}, {kind}")
            found[model, kind] = panel
            if j == 0:
                panel.set_ylabel("smooth goodput,\ntokens/s")
            if i == len(models) - 1:
                panel.set_xlabel("requests/s")
    label_panels(grid)
    return figure, found


def line(panel: "Axes", rates: Floats, values: Floats, look: Look, label: str, **how: Any) -> None:
    """Draw the mean over seeds of values f64[seed, rate] and its 95 % interval."""
    found = [interval(column.tolist()) for column in values.T]
    mean = np.array([each.mean for each in found])
    style: dict[str, Any] = {**look._asdict(), "markersize": 2.5, "linewidth": 1.0, "label": label, **how}
    panel.plot(rates, mean, **style)
    if all(each.known for each in found):
        low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
        panel.fill_between(rates, low, high, color=look.color, alpha=0.12, linewidth=0)


def said(reading: str) -> str:
    """Return what a reading is called in a table: windows by their share of T."""
    return f"the first {float(reading[2:]):.0%} of T" if reading.startswith("T ") else reading


def plain_log(panel: "Axes") -> None:
    """Scale the horizontal axis logarithmically, with plain numbers, few where it spans decades."""
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1,)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def legend(figure: "Figure", panel: "Axes", columns: int = 4) -> None:
    """Put one legend of the labelled lines of a panel above all of them."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)
