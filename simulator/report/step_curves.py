"""Step times of a model on a GPU, drawn: prefill by tokens, decode by batch, both together."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.costs import step_cost
from hardware_profiles.fit import step_shape
from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost
from simulator.arrays import Ints
from simulator.report.style import BLUE, GREEN, GREY, ORANGE, RED, axes, drawing, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, ORANGE, GREEN, RED)
_MARKS = ("o", "s", "^", "D")
_PRIORS = (0, 2048, 8192, 16384)  # tokens computed before, of the prefill panel
_CONTEXTS = (256, 1024, 4096, 16384)  # tokens of each decode, of the decode panel
_CHUNKS = (256, 512, 1024, 2048)  # prompt tokens beside decodes, of the mixed panel
_MIXED_CONTEXT = 1024


def draw(gpu: Gpu, model: Model, tensor_parallel: int, path: Path) -> None:
    """Write a PNG of three panels, 1950 x 720 pixels, and an SVG beside it: step times in ms, overheads included.

    Solid: the cost model that a scenario gets. Dotted, where that is a table: the formula. Shaded: beyond
    the measured range. Raises InputError where the model cannot run like that, OSError for the file.
    """
    cost = step_cost(gpu, model, tensor_parallel=tensor_parallel)
    formula = AnalyticCost(gpu, model, tensor_parallel) if cost.kind == "tabulated" else None
    with drawing():
        figure, grid = axes(1, 3, width=9.75, height_in=3.6)
        figure.suptitle(
            f"{model.name} on {tensor_parallel} x {gpu.name}: time of one engine step ({cost.kind},"
            f" {cost.overheads.engine_version.split(',')[0]})",
            x=0.008, ha="left",
        )  # fmt: skip
        prefill, decode, mixed = grid[0]
        _panel(prefill, cost, formula, "prefill")
        _panel(decode, cost, formula, "decode")
        _panel(mixed, cost, formula, "mixed")
        note = "shaded: beyond the measured range" if cost.measured_range else "nothing was measured"
        if formula is not None:
            note = f"solid: measured table; dotted: formula; {note}"
        figure.supxlabel(note, x=0.008, ha="left", fontsize=7, color=GREY)
    save(figure, path)


def _panel(panel: "Axes", cost: HardwareCost, formula: HardwareCost | None, kind: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    grid = cost.measured_range
    if kind == "prefill":
        x, curves, title = _spread(16, 32768), _PRIORS, "Prefill of one prompt"
        label, name, last = "prompt tokens computed", "after {:,} tokens", 16384
        last = grid.max_prefill_tokens if grid else last
    else:
        x, last = _spread(1, 512), grid.max_decode_seqs if grid else 512
        label = "sequences that decode"
        curves, title, name = _CONTEXTS, "Decode", "context {:,}"
        if kind == "mixed":
            title = f"Decode (context {_MIXED_CONTEXT:,}) beside a prompt"
            curves, name = _CHUNKS, "chunk of {:,} tokens"
    for value, colour, mark in zip(curves, _COLOURS, _MARKS, strict=True):
        panel.plot(
            x, _times_ms(cost, kind, x, value), color=colour, marker=mark, markevery=6, markersize=3.5,
            label=name.format(value),
        )  # fmt: skip
        if formula is not None:
            panel.plot(x, _times_ms(formula, kind, x, value), color=colour, linestyle=":", linewidth=1.3)
    panel.set(xscale="log", yscale="log", title=title, xlabel=label, ylabel="step time, ms")
    for axis, labelled in (
        (panel.xaxis, (1, 3) if kind == "prefill" else (1, 2, 5)),
        (panel.yaxis, (1, 2, 5)),
    ):
        axis.set_major_locator(LogLocator(subs=labelled, numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:,g}")
    panel.set_xlim(x[0], x[-1])
    if last < x[-1]:
        panel.axvspan(last, x[-1], color="#EEEEEE", zorder=0)
    if kind == "mixed":
        panel.set_ylim(top=2.2 * panel.get_ylim()[1])  # room for the names above flat curves
    panel.legend(loc="upper left")


def _spread(first: int, last: int) -> Ints:
    """Return whole numbers evenly spread on a logarithmic scale, eight to a doubling at most."""
    steps = 8 * int(np.log2(last / first)) + 1
    return np.unique(np.round(np.geomspace(first, last, steps)).astype(np.int64))


def _times_ms(cost: HardwareCost, kind: str, x: Ints, value: int) -> list[float]:
    shapes = {
        "prefill": lambda n: step_shape([(n, value)]),
        "decode": lambda n: step_shape((), n, value),
        "mixed": lambda n: step_shape([(value, 0)], n, _MIXED_CONTEXT),
    }
    return [1e3 * cost.step_s(shapes[kind](n)) for n in x.tolist()]
