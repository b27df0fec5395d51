"""Colours of all pictures, and how the figures of studies look."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000", "#6E6E6E"),
)
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
COLUMN_IN, TEXT_IN = 3.4, 7.0  # widths of a column and of a page of two, inches

# The keys are matplotlib's, whose type for them differs from version to version.
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # letters stay letters
    "savefig.dpi": 200,
}


def axes(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: Literal["column", "text"] | float = "column",
    height_in: float | None = None,
    **subplots: Any,
) -> "tuple[Figure, NDArray[Any]]":
    """Return a figure as wide as a column or a page, and its axes as an array of two dimensions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width_in = {"column": COLUMN_IN, "text": TEXT_IN}[width] if isinstance(width, str) else width
    figure = Figure(figsize=(width_in, height_in or 0.7 * width_in / ncols * nrows))
    FigureCanvasAgg(figure)
    grid: NDArray[Any] = figure.subplots(nrows, ncols, squeeze=False, **subplots)
    return figure, grid


def label_panels(grid: "Sequence[Axes] | NDArray[Any]") -> None:
    """Put (a), (b), ... before the titles of the panels."""
    for letter, panel in zip("abcdefghijkl", np.ravel(np.asarray(grid)), strict=False):
        panel.set_title(f"({letter}) {panel.get_title(loc='left')}".rstrip(), loc="left")
