"""Colours of all pictures, and how the figures of studies look."""

import zlib
from collections.abc import Mapping, Sequence
from colorsys import hls_to_rgb, rgb_to_hls
from pathlib import Path
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
# Each scheduler's colour, the same in every picture and page. The palette goes to those that are compared most.
_OF_POLICY = {
    "vllm_v1": BLUE,
    "sarathi": ORANGE,
    "smooth": RED,
    "sglang": GREEN,
    "vllm_v0": SKY,
    "orca": PURPLE,
    "srpt": "#882255",
    "sjf": "#CC6677",
    "edf": "#117733",
    "least_slack": "#44AA99",
    "andes": "#AA4499",
    "fastserve": "#999933",
    "vtc": "#6699CC",
    "continuous": "#661100",
    "static": GREY,
    "round_robin": BLUE,
    "least_loaded": ORANGE,
    "power_of_two": GREEN,
    "random": GREY,
    "prefix_affinity": RED,
    "session_affinity": PURPLE,
    "slo_aware": SKY,
    "llumnix": "#882255",
}
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


def policy_colour(name: str) -> str:
    """Return the colour of a scheduler or router, as ``#RRGGBB``: one that ships has a fixed one.

    Another's, by name or path, follows from its file's name, so that it is the same everywhere.
    """
    own = Path(name).stem
    if own in _OF_POLICY:
        return _OF_POLICY[own]
    hue, light = zlib.crc32(own.encode()) % 360, 0.36 + 0.02 * (zlib.crc32(own.encode()) // 360 % 5)
    red, green, blue = (round(255 * each) for each in hls_to_rgb(hue / 360, light, 0.62))
    return f"#{red:02X}{green:02X}{blue:02X}"


def colours_of_runs(policies: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a colour a run, given its policies by kind: that of the policy in which they all differ.

    Where there is none they take the palette's colours in their order.
    """
    for kind in ("scheduling", "routing"):
        names = [each.get(kind, "") for each in policies]
        colours = [policy_colour(name) for name in names]
        if all(names) and len(set(colours)) == len(names):
            return colours
    return [COLOURS[i % len(COLOURS)] for i in range(len(policies))]


def colour_on_dark(colour: str) -> str:
    """Return a colour (``#RRGGBB``) light enough to be told from a dark ground, its hue as it is."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = rgb_to_hls(red, green, blue)
    found = (round(255 * each) for each in hls_to_rgb(hue, max(light, 0.62), saturation))
    return "#" + "".join(f"{each:02X}" for each in found)


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
