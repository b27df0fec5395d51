"""The picture of the league: each scheduler by each metric, and where each is at home."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.league._protocol import League
from experiments.league._standings import Standing
from simulator.report.style import BLUE, INK, RED, axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAINTEST = 0.4  # times the best: as pale as it gets


def standings_picture(
    stand: Mapping[tuple[str, str], Standing], order: Sequence[str], rules: League, cells: int
) -> "Figure":
    """Draw a grid: how near to the best (shade), in how many cells among the best (number), whose metric (frame)."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    metrics = list(rules.metrics)
    near = np.array([[stand[name, metric].relative for metric in metrics] for name in order])
    figure, ((panel,),) = axes(width="text", height_in=0.55 + 0.21 * (len(order) + 5))
    shades = LinearSegmentedColormap.from_list("near", ["#FFFFFF", BLUE])
    image = panel.imshow(near, cmap=shades, vmin=FAINTEST, vmax=1.0, aspect="auto")
    for row, name in enumerate(order):
        for column, metric in enumerate(metrics):
            wins = stand[name, metric].wins
            panel.text(
                column,
                row,
                str(wins) if wins else "",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if near[row, column] > (1 + FAINTEST) / 2 else INK,
            )
            if name in rules.metrics[metric].home:
                panel.add_patch(
                    Rectangle(
                        (column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=RED, linewidth=1.4
                    )
                )
    panel.set_xticks(
        range(len(metrics)), [rules.metrics[each].title for each in metrics], rotation=32, ha="left"
    )
    panel.xaxis.tick_top()
    panel.set_yticks(range(len(order)), list(order))
    panel.tick_params(length=0)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=panel, shrink=0.6, pad=0.015)
    bar.set_label("value over the best (or the inverse), mean")
    bar.outline.set_visible(False)
    panel.set_xlabel(
        f"Number: in how many of {cells} cells it is the best or not shown to be worse.\nRed: the metric that its paper"
        " measures by."
    )
    return figure
