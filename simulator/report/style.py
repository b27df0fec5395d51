"""How all pictures look: colours, fonts, measures; and how they are written."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from colorsys import hls_to_rgb, rgb_to_hls
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulator.results.folders import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000", "#6E6E6E"),
)
INK = "#1F2430"  # of letters
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
# Each policy's colour, the same in every picture and page. The palette goes to the schedulers that are compared most,
# routers have colours of their own: a scheduler and a router can stand in one picture.
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
    "least_slack": "#7CCBB0",
    "andes": "#AA4499",
    "fastserve": "#999933",
    "vtc": "#5D3A9B",
    "continuous": "#661100",
    "slos_serve": "#9382D2",
    "adaserve": "#8FB51E",
    "autellix": "#D61416",
    "jitserve": "#D9177E",
    "ltr": "#3F154A",
    "muxwise": "#A96CE6",
    "pdmux_sglang": "#1768D4",
    "static": GREY,
    "round_robin": "#2F4B7C",
    "least_loaded": "#E0475B",
    "power_of_two": "#3DAA35",
    "random": "#9A9A9A",
    "prefix_affinity": "#C026D3",
    "session_affinity": "#0B8FA0",
    "slo_aware": "#C98F54",
    "llumnix": "#7B4B2A",
    "next_on_decline": "#2B4118",
    "aladdin": "#45C418",
    "cheapest_that_meets": "#294FE0",
    "willingness_to_pay": "#95CE7B",
    "cascade": "#D5CF9A",
}
_KINDS = ("scheduling", "routing", "admission", "migration", "scaling", "roles", "delivery", "abandonment")
COLUMN_IN, TEXT_IN = 3.4, 7.0  # widths of a column and of a page of two, inches
FONTS = Path(__file__).parent / "fonts"
FAMILY = ("Inter servesim", "DejaVu Sans")  # the second has the signs that the first has not

# The keys are matplotlib's, whose type for them differs from version to version.
STYLE: dict[Any, Any] = {
    "font.family": list(FAMILY),
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": "#8A8F98",
    "xtick.color": "#8A8F98",
    "ytick.color": "#8A8F98",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "text.parse_math": False,  # a name may have a dollar sign
    "text.usetex": False,  # whatever the user's own matplotlibrc says
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
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "servesim",  # names in the file follow from what is drawn, not from chance
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
    for kind in _KINDS:
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


@contextmanager
def drawing() -> Iterator[None]:
    """Everything that is drawn within has the fonts and measures of the project, and leaves no setting behind."""
    from matplotlib import rc_context

    _add_fonts()
    with rc_context(STYLE):
        yield


@lru_cache(maxsize=1)
def _add_fonts() -> None:
    from matplotlib import font_manager

    for path in sorted(FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(path)


def picture(width_in: float, height_in: float) -> "Figure":
    """Return an empty figure of a size in inches, which is drawn and saved in the style wherever that is done."""
    from simulator.report.picture import Picture

    with drawing():
        return Picture(figsize=(width_in, height_in))


def save(figure: "Figure", path: Path) -> list[str]:
    """Write a PNG (200 dpi) to ``path`` and an SVG beside it, or the SVG alone where that is asked for.

    Returns the files' names. Equal figures give equal bytes: neither file holds a date. Raises OSError where the disk
    refuses.
    """
    vector = path.with_suffix(".svg")
    files = {vector: "svg"} if path == vector else {path: "png", vector: "svg"}
    for file, kind in files.items():
        with whole(file) as part:
            figure.savefig(part, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return [file.name for file in files]


def axes(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: Literal["column", "text"] | float = "column",
    height_in: float | None = None,
    **subplots: Any,
) -> "tuple[Figure, NDArray[Any]]":
    """Return a figure as wide as a column or a page, and its axes as an array of two dimensions."""
    width_in = {"column": COLUMN_IN, "text": TEXT_IN}[width] if isinstance(width, str) else width
    with drawing():
        figure = picture(width_in, height_in or 0.7 * width_in / ncols * nrows)
        grid: NDArray[Any] = figure.subplots(nrows, ncols, squeeze=False, **subplots)
    return figure, grid


def plain_log_scale(axis: "Axis", subs: Sequence[float] = (1.0,)) -> None:
    """Write 0.1, 1, 10, 1,000 on a logarithmic axis, at ``subs`` of each decade, and no marks between."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=tuple(subs)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def label_panels(grid: "Sequence[Axes] | NDArray[Any]") -> None:
    """Put (a), (b), ... before the titles of the panels."""
    for letter, panel in zip("abcdefghijkl", np.ravel(np.asarray(grid)), strict=False):
        panel.set_title(f"({letter}) {panel.get_title(loc='left')}".rstrip(), loc="left")
